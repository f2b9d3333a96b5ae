"""Units without a gradient: what rules learn with an output at a bound, and what helps. Prints a Markdown table.

python benchmarks/dead_units.py    # digits and wine, 10 seeds; XOR, 1000 seeds

The shares are means over the seeds, of outputs that stand at a bound for every sample at which their error pulls them
off it, after 1, 5 and 20 epochs and the last one; and of hidden units without a gradient for any sample, in the last.
"""

import argparse

import numpy as np
from learning import interval, train
from tables import wilson

DEEP = ("digits", "--preset", "default", "--hidden", "32", "32", "32")
WINE = ("wine",)
XOR = ("xor", "--preset", "small")
CASES: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    *(
        (DEEP, ("--rule", *options))
        for options in (
            ("asym-ep",),
            ("asym-ep", "--feedback", "learned"),
            ("asym-ep", "--beta", "0.1"),
            ("dyadic", "--no-lift"),
            ("dyadic", "--feedback", "learned", "--no-lift"),
            ("adjoint", "--no-lift"),
            ("dyadic", "--no-lift", "--bias", "0.3"),
            ("dyadic", "--no-lift", "--learning-rate", "0.005"),
            ("dyadic", "--no-lift", "--neuron", "rate", "--activation", "softplus"),
            ("dyadic",),
            ("dyadic", "--feedback", "learned"),
            ("adjoint",),
        )
    ),
    *((WINE, ("--rule", *options)) for options in (("asym-ep",), ("adjoint", "--no-lift"), ("dyadic",), ("adjoint",))),
    *((XOR, ("--rule", *options)) for options in (("adjoint",), ("dyadic", "--lift"), ("adjoint", "--lift"))),
]


def main(seeds: int, gates: int) -> None:
    print("| task | options | test accuracy, mean ± 95 % (lowest to highest), or solved | validation | ", end="")
    print("dead outputs: epoch 1, 5, 20, last | dead hidden units | command |")
    print("|---|---|---|---|---|---|---|")
    for task, options in CASES:
        count = gates if task == XOR else seeds
        arguments = [*task, *options, "--seeds", f"0..{count - 1}"]
        result, lines, _ = train(arguments)
        outputs = [lines[min(epoch, len(lines)) - 1]["dead_outputs"] for epoch in (1, 5, 20, len(lines))]
        if task == XOR:
            solved = result["solved"]
            figure, validation = f"{solved} of {count} ({wilson(solved, count)})", ""
        else:
            figure = interval(np.array([seed["test"]["accuracy"] for seed in result["per_seed"]]))
            validation = f"{result['validation']['accuracy']:.2%}"
        shown = ", ".join(f"{share:.0%}" for share in outputs)
        print(
            f"| {task[0]} | `{' '.join(options)}` | {figure} | {validation} | {shown} | {lines[-1]['dead']:.0%} | "
            f"`direp train {' '.join(arguments)}` |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--gates", type=int, default=1000, help="seeds of XOR")
    asked = parser.parse_args()
    main(asked.seeds, asked.gates)
