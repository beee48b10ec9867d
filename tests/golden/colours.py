"""Prints the value of the term `colours` that tests/it/train/losses.rs expects, from the formula alone; run by scripts/golden.sh."""

import numpy as np

ROWS, SHARE = 6, 0.5
# The test's bank has these lengths along the axes, so that the fifth, the third and the second are used least, in that order.
LENGTHS = [3.0, 2.0, 0.5, 4.0, 0.25, 5.0, 6.0, 7.0]


def main():
    rows, columns = np.mgrid[0:ROWS, 0:8]
    images = np.sin(0.7 * rows + 1.3 * columns + 0.1 * rows * columns)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    row, channel, y, x = np.mgrid[0:ROWS, 0:3, 0:2, 0:4]
    pictures = 0.5 + 0.5 * np.sin(0.9 * row + 1.1 * channel + 0.7 * y + 0.4 * x)
    free = np.argsort(LENGTHS)[:3]
    # Both views; the second has everything moved along the second axis.
    vectors = np.concatenate([images, np.roll(images, 1, axis=1)])[:, free]
    colours = np.concatenate([pictures, np.roll(pictures, 1, axis=1)]).mean(axis=(2, 3))
    centred = colours - colours.mean(axis=0)
    wanted = centred * SHARE / np.linalg.norm(centred, axis=1).mean()
    print(f"colours: {((vectors - wanted) ** 2).sum(axis=1).mean() / SHARE**2:.12f}")


main()
