"""How long certificates take: local criterion, Perron with its re-check, dense and sparse networks; and error bars.

python benchmarks/certify_speed.py           # prints a Markdown table; medians of three calls, networks made before
python benchmarks/certify_speed.py --bars    # what the error bar of a phase costs; medians of 21 calls
"""

import argparse
import platform
import time

import jax
import numpy as np

import direp

WEAK, STRONG = 1.001, 0.999  # times the spectral abscissa: just proved, just not


def timed(call, calls=3):
    seconds, result = [], None
    for _ in range(calls):
        begun = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds)), result


def dense(units: int) -> direp.Network:
    graph = direp.Graph.complete(1, units - 1, 1)
    return direp.Network(graph, direp.Projected(), direp.FanIn(1.0, 1.0), key=jax.random.key(0))


def sparse(units: int, synapses: int) -> direp.Network:
    graph = direp.Graph.random(1, units - 1, 1, density=synapses / units**2)
    return direp.Network(
        graph, direp.Projected(), direp.FanIn(1.0, 1.0), key=jax.random.key(0), layout=direp.Sparse(graph)
    )


def with_leak(network: direp.Network, leak: float) -> direp.Network:
    return network.replace(network.parameters._replace(leak=np.full_like(network.leak, leak)))


def bars() -> None:
    """784-512-10, the size of MNIST, and 64 samples."""
    graph = direp.Graph.layered([784, 512, 10])
    network = direp.Network(graph, direp.Projected(), direp.FanIn(), key=jax.random.key(0))
    network = direp.LeakController(margin=0.1).begin(network)
    certificate, x = direp.certify(network, starts=0), np.random.default_rng(0).random((64, 784), np.float32)
    settled = direp.settle(network, x, certificate=certificate)
    field = network.field(jax.numpy.asarray(x))
    seconds, bar = timed(lambda: certificate.error(field, np.asarray(settled.state)), 21)
    print(f"784-512-10, 64 samples: the error bar of a phase takes {1e3 * seconds:.0f} ms; at most {bar.max():.2g}")
    seconds, _ = timed(lambda: jax.block_until_ready(direp.settle(network, x).state), 21)
    print(f"settling itself, without a certificate: {1e3 * seconds:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", action="store_true", help="what an error bar costs, and nothing else")
    if parser.parse_args().bars:
        bars()
    else:
        certificates()


def certificates() -> None:
    print(f"{platform.processor() or platform.machine()}, {jax.device_count()} device(s), NumPy {np.__version__}\n")
    print("| network | recurrent synapses | criterion | verdict | seconds |")
    print("|---|---|---|---|---|")
    cases = [
        ("dense, 3,163 units", dense(3163), (direp.LocalLeak(),)),
        ("sparse, 100,000 units", sparse(100_000, 10_000_000), (direp.LocalLeak(),)),
        ("dense, 500 units", dense(500), (direp.Perron(),)),
        ("dense, 2,000 units", dense(2000), (direp.Perron(),)),
        ("sparse, 100,000 units", sparse(100_000, 2_000_000), (direp.Perron(),)),
    ]
    for label, network, criteria in cases:
        sought = direp.certify(with_leak(network, 0.0), criteria=criteria, starts=0)
        synapses = network.graph.synapses - int((network.graph.source < network.graph.inputs).sum())
        for factor in (WEAK, STRONG):
            made = with_leak(network, -sought.rate * factor)
            seconds, certificate = timed(lambda made=made, c=criteria: direp.certify(made, criteria=c, starts=0))
            assert bool(certificate) == (factor == WEAK), (label, factor, certificate.rate)
            print(
                f"| {label} | {synapses:,} | {criteria[0].name} | {certificate.verdict} | {seconds:.2f} |", flush=True
            )


if __name__ == "__main__":
    main()
