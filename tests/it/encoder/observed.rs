//! Looking into towers while they run.

use pictor::image::ImageRule;
use pictor::model::Description;
use pictor::model::observer::{Observer, Unobserved};
use tch::{Device, Kind, Tensor};

use super::tower_models::{TOWERS, Tower};

/// Keeps everything that it is shown.
#[derive(Default)]
struct Seen {
    states: Vec<Tensor>,
    attention: Vec<Tensor>,
}

impl Observer for Seen {
    fn states(&mut self, layer: usize, states: &Tensor) {
        assert_eq!(layer, self.states.len());
        self.states.push(states.shallow_clone());
    }

    fn wants_attention(&self, layer: usize) -> bool {
        layer == 1
    }

    fn attention(&mut self, layer: usize, weights: &Tensor) {
        assert_eq!(layer, 1);
        self.attention.push(weights.shallow_clone());
    }
}

/// Fails when the open computation of attention differs from the fused kernel, or a layer is not shown.
#[test]
fn towers_show_states_and_attention_without_changing_them() {
    for name in TOWERS {
        let tower = Tower::new(name);
        let description = Description::read(&tower.folder, ImageRule::Pictor).expect("description");
        let network = description.network(Kind::Float, Device::Cpu).expect("network").image.expect("an image tower");
        let side = i64::from(tower.side());
        let pixels = Tensor::arange(2 * 3 * side * side, (Kind::Float, Device::Cpu)).sin().view([2, 3, side, side]);
        let expected = network.embed(&pixels, &mut Unobserved);
        let mut seen = Seen::default();
        let observed = network.embed(&pixels, &mut seen);
        let difference = f64::try_from((&observed - &expected).abs().max()).expect("a number");
        assert!(difference < 1e-4, "{name}: {difference}");
        assert_eq!((seen.states.len(), seen.attention.len()), (2, 1), "{name}");
        let (states, attention) = (seen.states[1].size(), seen.attention[0].size());
        assert_eq!((states[0], states[2], attention[0], attention[1]), (2, 48, 2, 3), "{name}");
        assert_eq!((attention[2], attention[3]), (states[1], states[1]), "{name}");
        let sums = seen.attention[0].sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float);
        assert!(f64::try_from((sums - 1.0).abs().max()).expect("a number") < 1e-5, "{name}");
    }
}
