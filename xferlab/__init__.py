"""xferlab: make a model trained in one place work in another, and measure whether it does.

import xferlab as xl

source, target = xl.load("cells/site-a"), xl.load("cells/site-b")
model = xl.Classifier(xl.encoder("efficientnet_lite0"), classes=source.classes)
run = xl.fit(model, source.train.take(per_class=20), strategy=xl.strategies.full(), steps=100)
print(xl.evaluate(model, target.test))
"""

import lazy_loader

__version__ = "0.1.0"
# a name is imported when it is first used, from where `__init__.pyi` says: `xferlab --help` needs no torch
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
