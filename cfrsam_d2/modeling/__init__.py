"""The model: prompt learner, SAM encoder with MALA, mask head, and what joins them."""

from . import meta_arch, prompt_learner, sam  # noqa: F401  (imported for registration)
