"""One image file to uint8 pixels: PNG, JPEG, TIFF and their kin by Pillow, DICOM by pydicom."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from ..errors import DataError, MissingExtra
from .intensity import WINDOWS, Scale, choose, to_uint8
from .layout import Place

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000")
MAX_PIXELS = 80_000_000  # of one image, looked up before it is decoded


def tell(left_out: dict[str, list]) -> str:
    """ ": left out 2 files that are no images (a.txt, b.txt); ..." """
    if not left_out:
        return ""
    kinds = [
        f"{len(names)} {kind} ({', '.join(map(str, names[:8]))}{', ...' if len(names) > 8 else ''})"
        for kind, names in left_out.items()
    ]
    return ": left out " + "; ".join(kinds)


def decode_all(
    placed: list[Place], size, channels, window, intensity, broken: str, left_out: dict[str, list], notes: list[str]
) -> tuple[list[Place], Tensor, Scale | None]:
    """Decodes all images in threads; returns those that could be, uint8 `(N, C, H, W)`, and the scale of the deep ones."""
    kept, pixels, scale = [], [], None
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        decode = lambda item: _decode(item.file, size, channels, window, intensity)
        decoded = list(tqdm(pool.map(decode, placed), total=len(placed), desc="images", delay=2))
        deep = [i for i, result in enumerate(decoded) if result is None]
        if deep:  # one scale for all of them
            scale = choose([placed[i].file for i in deep])
            intensity = "image" if scale is None else scale[:2]
            if scale is not None:
                notes.append(
                    f"{len(deep)} pictures of more than 8 bits: {scale.low:g} to {scale.high:g} become 0 to 255 in all of them; "
                    "intensity='image' or (low, high) does otherwise"
                )
            for i, result in zip(deep, pool.map(decode, [placed[i] for i in deep]), strict=True):
                decoded[i] = result
        for item, result in zip(placed, decoded, strict=True):
            if isinstance(result, str):
                if broken == "raise":
                    pool.shutdown(cancel_futures=True)
                    raise DataError(
                        f"{item.file} cannot be read as an image: {result}; replace it, or pass broken='skip'"
                    )
                left_out["broken images"].append(f"{item.file.name}: {result}")
            else:
                kept.append(item)
                pixels.append(result)
    if not kept:
        raise DataError(f"none of the {len(placed)} images can be read{tell(left_out)}")
    if len(shapes := {array.shape[:2] for array in pixels}) > 1:
        raise DataError(
            f"images have {len(shapes)} sizes, such as {sorted(shapes)[:3]}; give size= to bring them to one"
        )
    deep = max(array.ndim for array in pixels)
    stack = np.empty((len(pixels), 3 if deep == 3 else 1, *shapes.pop()), np.uint8)
    for row, array in zip(stack, pixels, strict=True):
        row[:] = array.transpose(2, 0, 1) if array.ndim == 3 else array  # grey is repeated beside colour
    return kept, torch.from_numpy(stack), scale


def _decode(file: Path, size, channels, window, intensity) -> np.ndarray | str | None:
    """uint8 `(H, W)` or `(H, W, 3)`, or the reason why not, or None for a deep picture that waits for the collection's scale."""
    try:
        image = (
            _dicom(file, window, intensity)
            if is_dicom(file)
            else _picture(file, size, None if isinstance(window, str) else window, intensity)
        )
        if image is None:
            return None
        if channels is not None:
            image = image.convert("L" if channels == 1 else "RGB")
        if size is not None and image.size != (size, size):
            image = ImageOps.pad(image, (size, size), Image.Resampling.BILINEAR, color=0)
        return np.array(image)
    except MissingExtra:
        raise
    except Exception as error:  # decoders raise anything at all on damaged files
        return f"{error}" or type(error).__name__


class Header(NamedTuple):
    """What a file says of its picture before it is decoded: its format, `(width, height)`, and how deep its pixels are."""

    kind: str
    size: tuple[int, int]
    depth: str


def header(file: Path) -> Header | None:
    """The Header of a picture that can be decoded; None where it says nothing."""
    with contextlib.suppress(Exception):  # as decoders do on damaged files
        if is_dicom(file):
            import pydicom

            record = pydicom.dcmread(file, stop_before_pixels=True)
            own = "its own window" if "WindowWidth" in record else "no window of its own"
            kind = f"DICOM {record.get('Modality', '')}".strip() + f" with {own}"
            return Header(kind, (int(record.Columns), int(record.Rows)), f"{int(record.BitsStored)} bits")
        with Image.open(file, formats=FORMATS) as opened:
            deep = {"1": "1 bit", "F": "fractions", "I": "32 bits"}
            depth = "16 bits" if opened.mode.startswith("I;16") else deep.get(opened.mode, "8 bits")
            grey = opened.mode[0] in "1LIF"
            return Header(opened.format or "", opened.size, f"{depth}, {'grey' if grey else 'color'}")
    return None


def is_dicom(file: Path) -> bool:
    """Whether a file is called DICOM or carries its mark, as those do that scanners name without a suffix."""
    with open(file, "rb") as opened:
        return opened.read(132)[128:] == b"DICM" or file.suffix.lower() in (".dcm", ".dicom")


def _check_pixels(width: int, height: int):
    if not 0 < width * height <= MAX_PIXELS:
        raise DataError(f"it claims {width} x {height} pixels, expected 1 to {MAX_PIXELS:,}")


def _picture(file: Path, size: int | None, window, intensity) -> Image.Image | None:
    """A PNG, JPEG, TIFF or BMP as an 8-bit grey or RGB image."""
    with Image.open(file, formats=FORMATS) as opened:
        _check_pixels(*opened.size)
        if size is not None and window is None:
            opened.draft(opened.mode, (2 * size, 2 * size))  # JPEG only: decode large photographs at a fraction
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I") or image.mode == "F":
        if window is None and intensity in (None, "collection"):
            return None
        return Image.fromarray(to_uint8(np.asarray(image, np.float32), window or _pair(intensity)))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        grey = image.mode in ("L", "LA", "La")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("L" if grey else "RGB")
    image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    return image if window is None else Image.fromarray(to_uint8(np.asarray(image, np.float32), window))


def _dicom(file: Path, window, intensity) -> Image.Image:
    """A single-frame DICOM as an 8-bit grey or RGB image: rescaled, windowed, MONOCHROME1 inverted (DICOM PS3.3 C.11.2)."""
    try:
        import pydicom
        from pydicom.filereader import read_file_meta_info
        from pydicom.pixels import apply_color_lut, pixel_array
    except ImportError as error:
        raise MissingExtra("pydicom", extra="labs") from error
    if read_file_meta_info(file).get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
        raise DataError(
            "it is deflated as a whole, which pydicom unpacks without limit; save it in another transfer syntax"
        )
    record = pydicom.dcmread(file)
    if int(record.get("NumberOfFrames") or 1) > 1:
        raise DataError(f"it holds {record.NumberOfFrames} frames, expected one; save each frame as a file")
    _check_pixels(int(record.Columns), int(record.Rows))
    kind = record.PhotometricInterpretation
    pixels = pixel_array(record)  # YBR comes out as RGB
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, record)
    if pixels.ndim == 3:
        depth = pixels.dtype.itemsize * 8 if kind == "PALETTE COLOR" else int(record.BitsStored)
        return Image.fromarray((pixels >> max(depth - 8, 0)).astype(np.uint8))
    values = pixels.astype(np.float32) * float(record.get("RescaleSlope", 1)) + float(record.get("RescaleIntercept", 0))
    if isinstance(window, str):
        window = WINDOWS[window] if record.get("Modality") == "CT" else None
    window = window or _pair(intensity)
    if intensity == "image":
        pass
    elif window is None and "WindowCenter" in record and "WindowWidth" in record:
        first = lambda value: float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)
        centre, half = first(record.WindowCenter) - 0.5, max(first(record.WindowWidth) - 1, 1e-3) / 2
        window = centre - half, centre + half
    elif window is None and record.get("Modality") == "CT":
        window = WINDOWS["soft"]
    grey = to_uint8(values, window)
    return Image.fromarray(255 - grey if kind == "MONOCHROME1" else grey)


def _pair(intensity) -> tuple[float, float] | None:
    return None if intensity is None or isinstance(intensity, str) else tuple(intensity[:2])
