"""Every error the package raises on purpose: each says what was seen, what was expected and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class XferlabError(Exception):
    """Base of all documented errors.

    Examples
    --------
    >>> issubclass(xl.errors.DataError, xl.errors.XferlabError)
    True
    """


class DataError(XferlabError, ValueError):
    """Inputs, labels, classes or splits that cannot be used as they are.

    Examples
    --------
    >>> xl.load("digits/mnits")
    Traceback (most recent call last):
    ...
    xferlab.errors.DataError: 'digits/mnits' is no known domain, and no file or folder either; did you mean digits/mnist ...
    """


class ArgumentError(XferlabError, ValueError):
    """An argument outside what a function accepts.

    Examples
    --------
    >>> xl.strategies.layerwise(2.0)
    Traceback (most recent call last):
    ...
    xferlab.errors.ArgumentError: layerwise decay is 2.0, expected above 0 and at most 1
    """


class TargetLabelsError(XferlabError, ValueError):
    """A labeled target reached training without `target_labels=True`.

    Examples
    --------
    >>> xl.fit(model, source.train, target.train)
    Traceback (most recent call last):
    ...
    xferlab.errors.TargetLabelsError: ...
    """


class ChecksumError(XferlabError, OSError):
    """A file whose bytes are not the ones that were promised.

    Examples
    --------
    >>> issubclass(xl.errors.ChecksumError, OSError)
    True
    """


class DownloadError(XferlabError, OSError):
    """A file that is not here and could not be fetched.

    Examples
    --------
    >>> issubclass(xl.errors.DownloadError, OSError)
    True
    """


class CheckpointError(XferlabError, ValueError):
    """A checkpoint that is damaged or belongs to another run.

    Examples
    --------
    >>> issubclass(xl.errors.CheckpointError, ValueError)
    True
    """


class DivergenceError(XferlabError, ArithmeticError):
    """A loss became NaN or infinite.

    Examples
    --------
    >>> issubclass(xl.errors.DivergenceError, ArithmeticError)
    True
    """


class MissingExtra(XferlabError, ImportError):
    """An optional package is not installed.

    Parameters
    ----------
    package, extra
        What is not there, and what it comes with.

    Examples
    --------
    >>> print(xl.errors.MissingExtra("pandas", extra="labs"))
    'pandas' is not installed; it comes with the extra 'labs': pip install 'xferlab[labs]'
    """

    def __init__(self, package: str, extra: str):
        instead = f"it comes with the extra {extra!r}: pip install 'xferlab[{extra}]'"
        super().__init__(f"{package!r} is not installed; {instead}")


@contextlib.contextmanager
def needs(package: str | None = None, *, extra: str) -> Iterator[None]:
    """Inside, an import that fails says which extra brings the package.

    Parameters
    ----------
    package, extra
        What is imported, by default the module that is missing, and what it comes with.

    Yields
    ------
    None
        To the imports.

    Raises
    ------
    MissingExtra
        Where it is not installed.

    Examples
    --------
    >>> with xl.errors.needs("pandas", extra="labs"):
    ...     import pandas
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(package or error.name or "a package", extra) from error
