"""The meta-architectures: the prompt learner alone (stage 1) and the whole of CFR-SAM (stage 2)."""

from .cfrsam import CFRSAM
from .prompt_learner import PromptLearner

__all__ = ["CFRSAM", "PromptLearner"]
