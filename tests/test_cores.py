"""Seeds are dealt out to cores, which share the threads of one process."""

import os
import subprocess
import sys


def test_batches_of_dense_systems_on_every_core_at_once_come_to_an_end(tmp_path):
    options = ["digits", "--preset", "default", "--hidden", "32", "32", "32", "--rule", "adjoint", "--epochs", "1"]
    command = [sys.executable, "-m", "direp", "train", *options, "--seeds", "0..1", "--out", str(tmp_path / "run")]
    # As the program starts for a user, without what an earlier call in this process has set.
    environment = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiled as quickly as other tests: the wait is at run time
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
