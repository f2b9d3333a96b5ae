"""Scikit-learn's checks of both estimators with default settings: what fails, and the seconds.

    python tests/campaigns/estimators.py

Exit code 1 if a check fails. `tests/test_estimator_checks.py` has them with small networks.
"""

import sys
import time
import warnings
from unittest import SkipTest

import sklearn
from sklearn.utils.estimator_checks import estimator_checks_generator

from direp import DirectedEPClassifier, DirectedEPRegressor


def main() -> int:
    failed = 0
    for estimator in (DirectedEPClassifier(), DirectedEPRegressor()):
        begin, passed, skipped = time.perf_counter(), 0, []
        for made, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    check(made)
                passed += 1
            except SkipTest as reason:
                skipped.append(f"{name} ({reason})")
            except Exception as error:
                failed += 1
                print(f"  {name} fails: {type(error).__name__}: {error}", flush=True)
        print(
            f"scikit-learn {sklearn.__version__}, {type(estimator).__name__}: {passed} checks passed, skipped "
            f"{skipped}, in {time.perf_counter() - begin:.0f} s",
            flush=True,
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
