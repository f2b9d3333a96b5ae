"""What the estimators share with the program."""

from .build import Parts as Parts
from .build import reach_of as reach_of
from .catalogue import WrongUse as WrongUse
from .catalogue import check as check
from .presets import preset as preset
from .report import certificates_of as certificates_of
from .run_folder import LoadedRun as LoadedRun
from .run_folder import keep_networks as keep_networks
from .run_folder import new_run as new_run
from .run_folder import open_run as open_run
from .settings import Settings as Settings
