//! Which scope each RPC needs when API keys are set. A served RPC that is missing here is refused, and a test finds it.

/// What a key may do; each scope includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Read,
    Write,
    Admin,
}

impl Scope {
    /// Reads the word that stands in a key file.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// Every RPC by its path.
pub const TABLE: &[(&str, Scope)] = &[
    ("/grpc.health.v1.Health/Check", Scope::Read),
    ("/grpc.health.v1.Health/Watch", Scope::Read),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Scope::Read),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Scope::Read),
    ("/pictor.v1.Admin/CreateSnapshot", Scope::Admin),
    ("/pictor.v1.Admin/DeleteSnapshot", Scope::Admin),
    ("/pictor.v1.Admin/GetInfo", Scope::Read),
    ("/pictor.v1.Admin/GetStats", Scope::Read),
    ("/pictor.v1.Admin/ListSnapshots", Scope::Read),
    ("/pictor.v1.Admin/RestoreSnapshot", Scope::Admin),
    ("/pictor.v1.Collections/AddField", Scope::Admin),
    ("/pictor.v1.Collections/CreateCollection", Scope::Admin),
    ("/pictor.v1.Collections/CreatePayloadIndex", Scope::Admin),
    ("/pictor.v1.Collections/DropCollection", Scope::Admin),
    ("/pictor.v1.Collections/DropField", Scope::Admin),
    ("/pictor.v1.Collections/DropPayloadIndex", Scope::Admin),
    ("/pictor.v1.Collections/GetCollection", Scope::Read),
    ("/pictor.v1.Collections/ListAliases", Scope::Read),
    ("/pictor.v1.Collections/ListCollections", Scope::Read),
    ("/pictor.v1.Collections/SetExpiry", Scope::Admin),
    ("/pictor.v1.Collections/UpdateAliases", Scope::Admin),
    ("/pictor.v1.Encoders/Embed", Scope::Read),
    ("/pictor.v1.Encoders/GetEncoder", Scope::Read),
    ("/pictor.v1.Encoders/ListEncoders", Scope::Read),
    ("/pictor.v1.Items/Count", Scope::Read),
    ("/pictor.v1.Items/Delete", Scope::Write),
    ("/pictor.v1.Items/Get", Scope::Read),
    ("/pictor.v1.Items/Scroll", Scope::Read),
    ("/pictor.v1.Items/SetPayload", Scope::Write),
    ("/pictor.v1.Items/Upsert", Scope::Write),
    ("/pictor.v1.Items/UpsertStream", Scope::Write),
    ("/pictor.v1.Jobs/CancelJob", Scope::Admin),
    ("/pictor.v1.Jobs/GetJob", Scope::Read),
    ("/pictor.v1.Jobs/ListJobs", Scope::Read),
    ("/pictor.v1.Jobs/ResumeJob", Scope::Admin),
    ("/pictor.v1.Jobs/WatchJob", Scope::Read),
    ("/pictor.v1.Search/CountFacets", Scope::Read),
    ("/pictor.v1.Search/Search", Scope::Read),
    ("/pictor.v1.Search/SearchBatch", Scope::Read),
    ("/pictor.v1.Training/DropGeneration", Scope::Admin),
    ("/pictor.v1.Training/Evaluate", Scope::Admin),
    ("/pictor.v1.Training/Reembed", Scope::Admin),
    ("/pictor.v1.Training/SetComposer", Scope::Admin),
    ("/pictor.v1.Training/SetQueryEncoder", Scope::Admin),
    ("/pictor.v1.Training/SwitchGeneration", Scope::Admin),
    ("/pictor.v1.Training/Train", Scope::Admin),
];

/// The scope that a path needs; `None` for a path that nobody serves.
#[must_use]
pub fn scope_of(path: &str) -> Option<Scope> {
    TABLE.iter().find(|(listed, _)| *listed == path).map(|(_, scope)| *scope)
}
