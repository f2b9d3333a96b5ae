"""What is wrong with a run, and what to try: symptoms in the order of causes, each looked for by itself."""

from .diagnose import diagnose, examined, judged
from .examination import Examination
from .finding import Diagnosis, Finding
from .symptom import AbstractSymptom

__all__ = ["AbstractSymptom", "Diagnosis", "Examination", "Finding", "diagnose", "examined", "judged"]
