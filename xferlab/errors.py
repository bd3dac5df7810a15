"""Every error the package raises on purpose: each says what was seen, what was expected and what to do."""


class XferlabError(Exception):
    """Base of all documented errors."""


class DataError(XferlabError, ValueError):
    """Inputs, labels, classes or splits that cannot be used as they are."""


class ArgumentError(XferlabError, ValueError):
    """An argument outside what a function accepts."""


class TargetLabelsError(XferlabError, ValueError):
    """A labelled target reached training without `target_labels=True`."""


class ChecksumError(XferlabError, OSError):
    """A file whose bytes are not the ones that were promised."""


class DownloadError(XferlabError, OSError):
    """A file that is not here and could not be fetched."""


class CheckpointError(XferlabError, ValueError):
    """A checkpoint that is damaged or belongs to another run."""


class DivergenceError(XferlabError, ArithmeticError):
    """A loss became NaN or infinite."""


class MissingExtra(XferlabError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str):
        super().__init__(
            f"{package!r} is not installed; it comes with the extra {extra!r}: pip install 'xferlab[{extra}]'"
        )
