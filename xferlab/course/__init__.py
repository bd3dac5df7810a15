"""The course: what notebooks call, and what builds, bundles and checks them."""

import lazy_loader

_ROOMS = ["bundle", "checks", "commands", "content", "doctor", "lab", "widgets", "workspace"]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=_ROOMS)
