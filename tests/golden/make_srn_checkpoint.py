"""Wrote srn_tiny.model-523000.{index,data-00000-of-00001} once: python -m
tests.golden.make_srn_checkpoint, with TensorFlow 2.19 installed.

An SRN (color) of width 1 under the published variable names, with some of the optimiser's slots,
saved as SRN's own program does it.
"""

from tests.golden.fill import fill_state_dict


def variables(width: int = 1, channels: int = 3) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published program's variables."""
    shapes = {}

    def convolution(scope: str, *shape: int, out: int | None = None) -> None:
        shapes[f"{scope}/weights"], shapes[f"{scope}/biases"] = shape, (out or shape[-1],)

    before = 2 * channels
    for level in (1, 2, 3):
        after = width * 2 ** (level - 1)
        convolution(f"g_net/enc{level}_1", 5, 5, before, after)
        for block in (2, 3, 4):
            for number in (1, 2):
                convolution(f"g_net/enc{level}_{block}/conv{number}", 5, 5, after, after)
                convolution(f"g_net/dec{level}_{block - 1}/conv{number}", 5, 5, after, after)
        if level > 1:
            convolution(f"g_net/dec{level - 1}_4", 4, 4, before, after, out=before)
        before = after
    convolution("g_net/dec1_0", 5, 5, width, channels)
    return shapes


def main() -> None:
    import tensorflow as tf  # no requirement of the project

    tf.compat.v1.disable_eager_execution()
    values = fill_state_dict(variables())
    everything = [tf.compat.v1.Variable(value, name=name) for name, value in values.items()]
    first = values["g_net/enc1_1/weights"]
    everything += [
        tf.compat.v1.Variable(first * 0, name=f"g_net/enc1_1/weights/{slot}")
        for slot in ("Adam", "Adam_1")
    ]
    everything += [
        tf.compat.v1.Variable(0.9, name="beta1_power"),
        tf.compat.v1.Variable(0.999, name="beta2_power"),
    ]
    everything += [tf.compat.v1.Variable(523000, name="Variable", dtype=tf.int64)]
    with tf.compat.v1.Session() as session:
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(everything)
        saver.save(
            session,
            "tests/golden/srn_tiny.model",
            global_step=523000,
            write_meta_graph=False,
            write_state=False,
        )


if __name__ == "__main__":
    main()
