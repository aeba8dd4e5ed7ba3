"""The two meta-architectures: the prompt learner alone (run 1) and the whole of CFR-SAM (run 2)."""

from .cfrsam import CFRSAM
from .prompt_learner import PromptLearner

__all__ = ["CFRSAM", "PromptLearner"]
