"""The course: what notebooks call, and what builds, bundles and checks them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["checks", "doctor", "lab", "widgets"])
