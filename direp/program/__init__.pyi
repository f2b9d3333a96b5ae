"""What the estimators share with the program."""

from .build import Parts as Parts
from .catalogue import WrongUse as WrongUse
from .catalogue import check as check
from .presets import preset as preset
from .report import certificates_of as certificates_of
from .report import summary_of as summary_of
from .run_folder import RunFolder as RunFolder
from .run_folder import open_run as open_run
from .settings import Settings as Settings
