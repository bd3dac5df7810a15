"""One image file to uint8 pixels: PNG, JPEG, TIFF and their kin by Pillow, DICOM by pydicom."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from ..errors import DataError, MissingExtra, needs
from ..machine import cores
from .intensity import WINDOWS, Scale, choose, to_uint8
from .layout import Place
from .stacks import stacked

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000")
MAX_PIXELS = 80_000_000  # of one image, looked up before it is decoded
AT_ONCE = 128  # files that are decoded before their pictures join the others
TOLD = 0.3  # share of the variance of stored values that classes explain, from which on it is said


def tell(left_out: dict[str, list]) -> str:
    """ ": left out 2 files that are no images (a.txt, b.txt); ..." """
    kinds = [
        f"{len(names)} {kind} ({', '.join(map(str, names[:8]))}{', ...' if len(names) > 8 else ''})"
        for kind, names in left_out.items()
        if names
    ]
    return ": left out " + "; ".join(kinds) if kinds else ""


class Decoded(NamedTuple):
    """What a file gave.

    Parameters
    ----------
    pixels
        A picture, then uint8 `(H, W)` or `(H, W, 3)` of each frame.
    ids
        PatientID and StudyInstanceUID of DICOM.
    more
        Whether the file has several pages, of which the first was taken.
    level
        The mean of its stored values, where the picture was stretched by itself.
    """

    pixels: list
    ids: tuple[str, str] = ("", "")
    more: bool = False
    level: float | None = None


class Options(NamedTuple):
    """Those of `folders.read` that say how a picture is decoded; `scale` is the (low, high) of deep pictures that are no DICOM, once
    it is known, or "image" where each has its own."""

    size: int | None
    channels: int | None
    window: tuple[float, float] | str | None
    intensity: tuple | str | None
    frames: str
    scale: tuple | str | None = None


def decode_all(
    placed: list[Place], options: Options, broken: str, left_out: dict[str, list], notes: list[str]
) -> tuple[list[Place], Tensor, Scale | None]:
    """Decodes all images in threads; returns those that could be, uint8 `(N, C, H, W)`, and the scale of the deep ones."""
    scale: Scale | None = None
    kept: list[tuple[Place, Decoded]] = []

    def decode(item: Place) -> Decoded | str | None:
        return _decode(item.file, options)

    def pictures() -> Iterator[np.ndarray]:
        nonlocal options, scale
        for start in range(0, len(placed), AT_ONCE):
            items = placed[start : start + AT_ONCE]
            decoded = list(pool.map(decode, items))
            if None in decoded:  # the first deep ones: one scale for them and all that come
                rest = zip(placed[start:], pool.map(decode, placed[start:]), strict=True)
                deep = [item.file for item, result in rest if result is None]
                scale = choose(deep, options.intensity, notes)
                options = options._replace(scale="image" if scale is None else scale[:2])
                if scale is not None:
                    notes.append(
                        f"{len(deep)} pictures of more than 8 bits: {scale.low:g} to {scale.high:g} become 0 to 255 in all of them; "
                        "intensity='image' or (low, high) does otherwise"
                    )
                decoded = list(pool.map(decode, items))
            for item, result in zip(items, decoded, strict=True):
                bar.update()
                if isinstance(result, Decoded):
                    kept.append((item, result._replace(pixels=[None] * len(result.pixels))))
                    yield from result.pixels
                elif broken == "raise":
                    raise DataError(f"{item.file} cannot be read as an image: {result}; mend it, or pass broken='skip'")
                else:
                    left_out["broken images"].append(f"{item.file.name}: {result}")

    with ThreadPoolExecutor(cores()) as pool, tqdm(total=len(placed), desc="images", delay=2) as bar:
        images = stacked(pictures(), len(placed))
    if not kept:
        raise DataError(f"none of the {len(placed)} images can be read{tell(left_out)}")
    if several := [item.file.name for item, result in kept if result.more]:
        such = ", ".join(several[:5])
        taken = "the first of each is taken (frames='all' takes all)"
        notes.append(f"{len(several)} files have several pages, and {taken}: {such}")
    _warn_of_stretch(kept, notes)
    named = 0 if len({result.ids[0] for _, result in kept} - {""}) > 1 else 1  # one PatientID for all says nothing
    places = []
    for item, result in kept:
        film = len(result.pixels) > 1
        place = item._replace(id=result.ids[named] or (str(item.file) if film else None))
        places += [place._replace(frame=k + 1 if film else None) for k in range(len(result.pixels))]
    return places, images, scale


def _warn_of_stretch(kept: list[tuple[Place, Decoded]], notes: list[str]) -> None:
    """Says where pictures were stretched one by one although their brightness tells the class."""
    levels: dict[str, list[float]] = defaultdict(list)
    for item, result in kept:
        if result.level is not None and item.label is not None:
            levels[item.label].append(result.level)
    everything = np.concatenate([[], *levels.values()])
    if len(levels) < 2 or len(everything) < 10 or not everything.var() > 0:
        return
    between = sum(len(values) * (np.mean(values) - everything.mean()) ** 2 for values in levels.values())
    if between / (len(everything) * everything.var()) > TOLD:
        listed = ", ".join(f"{name} {np.mean(values):g}" for name, values in levels.items())
        notes.append(
            f"{len(everything)} pictures are stretched one by one, which hides that stored values differ between classes (means: {listed}); "
            "if their units mean something, give intensity=(low, high) or window=(low, high)"
        )


def _decode(file: Path, options: Options) -> Decoded | str | None:
    """What a file gave, or the reason why nothing, or None for a deep picture that waits for the collection's scale."""
    try:
        found = _dicom(file, options) if is_dicom(file) else _picture(file, options)
        if not (images := found.pixels):
            return None
        if options.channels is not None:
            images = [image.convert("L" if options.channels == 1 else "RGB") for image in images]
        if (size := options.size) is not None:
            images = [ImageOps.pad(image, (size, size), Image.Resampling.BILINEAR, color=0) for image in images]
        return found._replace(pixels=[np.array(image) for image in images])
    except MissingExtra:
        raise
    except Exception as error:  # decoders raise anything at all on damaged files
        return f"{error}" or type(error).__name__


def header(file: Path) -> tuple[str, tuple[int, int], str] | None:
    """What a file says of its picture before it is decoded: its format, `(width, height)`, and how deep its pixels are; None where
    it says nothing or cannot be decoded."""
    with contextlib.suppress(Exception):  # as decoders do on damaged files
        if is_dicom(file):
            import pydicom

            record = pydicom.dcmread(file, stop_before_pixels=True)
            own = "its own window" if "WindowWidth" in record else "no window of its own"
            kind = f"DICOM {record.get('Modality', '')}".strip() + f" with {own}"
            return kind, (int(record.Columns), int(record.Rows)), f"{int(record.BitsStored)} bits"
        with Image.open(file, formats=FORMATS) as opened:
            modes = {"1": "1 bit", "F": "fractions", "I": "32 bits", "I;16": "16 bits"}
            depth, color = modes.get(opened.mode[:4], "8 bits"), "gray" if opened.mode[0] in "1LIF" else "color"
            return opened.format or "", opened.size, f"{depth}, {color}"
    return None


def is_dicom(file: Path) -> bool:
    """Whether a file is called DICOM or carries its mark, as those do that scanners name without a suffix."""
    with open(file, "rb") as opened:
        return opened.read(132)[128:] == b"DICM" or file.suffix.lower() in (".dcm", ".dicom")


def _check_pixels(width: int, height: int):
    if not 0 < width * height <= MAX_PIXELS:
        raise DataError(f"it claims {width} x {height} pixels, expected 1 to {MAX_PIXELS:,}")


def _picture(file: Path, options: Options) -> Decoded:
    """A PNG, JPEG, TIFF or their kin as 8-bit gray or RGB; no pixels where it is deep and the collection's scale is not known."""
    window = None if isinstance(options.window, str) else options.window
    given = options.scale or _own(options.intensity)
    with Image.open(file, formats=FORMATS) as opened:
        deep = opened.mode[0] in "IF"
        if deep and not window:
            if given is None:
                return Decoded([])
            window = None if isinstance(given, str) else given
        several = opened.format in ("TIFF", "GIF", "WEBP") and getattr(opened, "is_animated", False)
        frames = opened.n_frames if several and options.frames == "all" else 1  # type: ignore[attr-defined]
        pixels, levels = [], []
        for frame in range(frames):
            opened.seek(frame)
            _check_pixels(opened.width * frames, opened.height)
            if deep != (opened.mode[0] in "IF"):
                raise DataError("some of its pages have 8 bits and others more")
            image = ImageOps.exif_transpose(
                opened if options.size is None or window else _small(opened, options.size, options.channels)
            )
            if window or deep:
                values = np.asarray(image if deep else _flat(image), np.float32)
                levels += [] if window else [float(values.mean())]
                image = Image.fromarray(to_uint8(values, window))
            pixels.append(_flat(image))
    level = float(np.mean(levels)) if levels else None
    return Decoded(pixels, more=several and frames == 1, level=level)


def _flat(image: Image.Image) -> Image.Image:
    """8-bit gray or RGB, what is transparent in it white."""
    gray = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if gray else "RGB")


def _small(opened: Image.Image, size: int, channels: int | None) -> Image.Image:
    """A JPEG at its final size, decoded at a half, a quarter or an eighth where that leaves 1.5 times its pixels a side; others as they are.

    It differs from what all pixels give by a gray level on average, less than bilinear from bicubic.
    """
    full = opened.size
    width, height = (max(round(side * size / max(full)), 1) for side in full)
    drafted = opened.draft("L" if channels == 1 else opened.mode, (-(-width * 3 // 2), -(-height * 3 // 2)))
    # the last row and column of a draft may stand for less than its scale, which `box` says
    return opened.resize((width, height), Image.Resampling.BILINEAR, box=drafted[1]) if drafted else opened


def _dicom(file: Path, options: Options) -> Decoded:
    """A DICOM as 8-bit gray or RGB: rescaled, windowed, MONOCHROME1 inverted (DICOM PS3.3 C.11.2)."""
    with needs("pydicom", extra="labs"):
        import pydicom
        from pydicom.filereader import read_file_meta_info
        from pydicom.pixels import apply_color_lut, pixel_array
    if read_file_meta_info(file).get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
        raise DataError("it is deflated as a whole, which pydicom unpacks without limit; save it in another syntax")
    record = pydicom.dcmread(file)
    frames = int(record.get("NumberOfFrames") or 1)
    if frames > 1 and options.frames != "all":
        raise DataError(f"it holds {frames} frames, expected one; pass frames='all' or save each as a file")
    _check_pixels(int(record.Columns) * max(frames, 1), int(record.Rows))
    ids = str(record.get("PatientID") or ""), str(record.get("StudyInstanceUID") or "")
    kind = record.PhotometricInterpretation
    pixels = pixel_array(record)  # YBR comes out as RGB
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, record)
    pixels = pixels if frames > 1 else pixels[None]
    if pixels.ndim == 4:
        depth = pixels.dtype.itemsize * 8 if kind == "PALETTE COLOR" else int(record.BitsStored)
        return Decoded([Image.fromarray((frame >> max(depth - 8, 0)).astype(np.uint8)) for frame in pixels], ids)
    values = pixels.astype(np.float32) * float(record.get("RescaleSlope", 1)) + float(record.get("RescaleIntercept", 0))
    window = options.window
    if isinstance(window, str):
        window = WINDOWS[window] if record.get("Modality") == "CT" else None
    given = _own(options.intensity)
    if window is None and not isinstance(given, str):
        if given is not None:
            window = given
        elif "WindowCenter" in record and "WindowWidth" in record:
            center, width = (float(np.atleast_1d(record[key].value)[0]) for key in ("WindowCenter", "WindowWidth"))
            half = max(width - 1, 1e-3) / 2
            window = center - 0.5 - half, center - 0.5 + half
        elif record.get("Modality") == "CT":
            window = WINDOWS["soft"]
    gray = to_uint8(values, window)
    gray = 255 - gray if kind == "MONOCHROME1" else gray
    return Decoded([Image.fromarray(frame) for frame in gray], ids, level=None if window else float(values.mean()))


def _own(intensity: tuple | str | None) -> tuple[float, float] | str | None:
    """The (low, high) that a caller gave, or "image"; a Scale is another collection's, and "collection" waits for this one's."""
    return None if intensity == "collection" or isinstance(intensity, Scale) else intensity
