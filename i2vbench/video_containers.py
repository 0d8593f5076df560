"""What a video file says of its own size: whether it ends before it should.

FFmpeg shows a file that was cut as a shorter one, most often without a word. Nearly every container
states the sizes of its parts, so that the parts can be walked without decoding anything. Each walk
here reads the headers only and skips the content.

What no container states cannot be noticed here: an MPEG-TS or MPEG-PS file that ends between two
packets, a fragmented MP4 or a live Matroska file that ends between two fragments, a raw stream.
Measured on cuts anywhere else in one file of each kind, none was missed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_EBML = bytes.fromhex("1a45dfa3")
_SEGMENT = bytes.fromhex("18538067")
_CLUSTER = bytes.fromhex("1f43b675")
_TOP_LEVEL = {
    bytes.fromhex(identifier)
    for identifier in (
        "1f43b675",  # Cluster
        "1c53bb6b",  # Cues
        "1254c367",  # Tags
        "1549a966",  # Info
        "1654ae6b",  # Tracks
        "114d9b74",  # SeekHead
        "1941a469",  # Attachments
        "1043a770",  # Chapters
    )
}
"""Elements of a segment: each of them ends a cluster that states no size."""

_SMPTE = bytes.fromhex("060e2b34")
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


def is_cut(path: Path) -> bool:
    """Whether the container of ``path`` states more bytes than the file has.

    The kind is told by the first bytes, as FFmpeg does. A kind that is not known here, and a file
    whose parts cannot be walked (that is for the decoder to refuse), count as not cut.

    Args:
        path: a file that can be opened. Known are AVI and other RIFF files, MP4 and MOV, Matroska
            and WebM, GIF, FLV, MPEG-TS (packets of 188, 192 or 204 bytes), MPEG-PS, ASF and WMV,
            Ogg, IVF and MXF.
    """
    with path.open("rb") as file:
        head = file.read(512)
        size = os.fstat(file.fileno()).st_size
        walk = _walk_of(head)
        if walk is None:
            return False
        try:
            return walk(file, size)
        except struct.error:
            # A header was cut in two.
            return True


def _walk_of(head: bytes) -> Callable[[BinaryIO, int], bool] | None:
    if head[:4] in (b"GIF8", b"FLV\x01", b"OggS", b"DKIF", b"RIFF", _EBML):
        return {
            b"GIF8": _is_cut_gif,
            b"FLV\x01": _is_cut_flv,
            b"OggS": _is_cut_ogg,
            b"DKIF": _is_cut_ivf,
            b"RIFF": _is_cut_riff,
            _EBML: _is_cut_matroska,
        }[head[:4]]
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return _is_cut_mp4
    if head[:4] == b"\x00\x00\x01\xba":
        return _is_cut_program_stream
    if head[:16] == _ASF_HEADER:
        return _is_cut_asf
    if head[:4] == _SMPTE:
        return _is_cut_mxf
    if _packet_size(head) is not None:
        return _is_cut_transport_stream
    return None


def _at(file: BinaryIO, position: int, layout: str) -> tuple[int, ...]:
    """The numbers of ``layout`` at ``position``; struct.error where the file ends before."""
    file.seek(position)
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _bytes_at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _is_cut_riff(file: BinaryIO, size: int) -> bool:
    """AVI: the sizes of ``RIFF`` (several in files over 1 GiB) and of the chunks in it.

    Some writers count the 8 bytes of the header too, or leave out the byte that pads the last
    chunk: where the chunks end exactly with the file, that is forgiven. A size of 0 is that of a
    recording never closed, and so is the largest one; then only the chunks speak.
    """
    position = 0
    while position + 12 <= size and _bytes_at(file, position, 4) == b"RIFF":
        (stated,) = _at(file, position + 4, "<I")
        stated = 0 if stated == 0xFFFFFFFF else stated
        end = position + 8 + stated + stated % 2 if stated else size
        inner, padded = position + 12, 0
        while inner + 8 <= min(end, size):
            (length,) = _at(file, inner + 4, "<I")
            padded = length % 2
            inner += 8 + length + padded
        if inner - padded > size or (end > size and not (inner >= size >= end - 8)):
            return True
        position = max(end, inner)
    return False


def num_empty_at_end(path: Path, stream_index: int) -> int:
    """The chunks without content after the last one with content, of one stream of an AVI."""
    number = b"%02d" % stream_index
    num_empty = 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while position + 8 <= size:
            name, length = _bytes_at(file, position, 4), _at(file, position + 4, "<I")[0]
            if name in (b"RIFF", b"LIST"):
                # Into the lists that hold chunks, past the others.
                inside = _bytes_at(file, position + 8, 4) in (b"AVI ", b"AVIX", b"movi", b"rec ")
                position += 12 if inside else 8 + length + length % 2
                continue
            if name[:2] == number and name[2:] in (b"dc", b"db"):
                num_empty = 0 if length else num_empty + 1
            position += 8 + length + length % 2
    return num_empty


def _is_cut_mp4(file: BinaryIO, size: int) -> bool:
    """MP4 and MOV: the sizes of the boxes, and media data after the last fragment's header."""
    position = 0
    kind = b""
    while position < size:
        header = _bytes_at(file, position, 8)
        if len(header) < 8:
            # QuickTime ends some files with four zero bytes.
            return any(header)
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        if length == 1:
            (length,) = _at(file, position + 8, ">Q")
        elif length == 0:
            return False
        if length < 8:
            return False
        position += length
    return position > size or kind == b"moof"


def ebml_size(data: bytes) -> tuple[int | None, int]:
    r"""The EBML size field at the start of ``data``: its value, None for unknown, and its length.

    The first byte's leading zeros give the length, 1 to 8; all value bits set means unknown (RFC
    8794, sections 4 and 6.2).

    Raises:
        struct.error: ``data`` ends inside the field, or its first byte is 0.

    >>> ebml_size(bytes.fromhex("81")), ebml_size(bytes.fromhex("407f")), ebml_size(b"\xff")
    ((1, 1), (127, 2), (None, 1))
    """
    length = 9 - data[0].bit_length() if data else 9
    if length > 8 or len(data) < length:
        raise struct.error("an EBML size was expected")
    mask = (1 << (7 * length)) - 1
    value = int.from_bytes(data[:length], "big") & mask
    return (None if value == mask else value), length


def _element(file: BinaryIO, position: int) -> tuple[bytes, int | None, int]:
    """The identifier of the EBML element at ``position``, its size, and where its content begins.

    Raises:
        struct.error: the file ends inside the element's header, or there is none.
    """
    data = _bytes_at(file, position, 12)
    width = 9 - data[0].bit_length() if data else 9
    if width > 4:
        raise struct.error("an EBML identifier was expected")
    size, length = ebml_size(data[width:])
    return data[:width], size, position + width + length


def _is_cut_matroska(file: BinaryIO, size: int) -> bool:
    """Matroska and WebM: the size of the segment, or where it states none, of what is in it.

    A recording that was never closed states no size of its segment, and some (browsers') none of
    their clusters either; their blocks always do.
    """
    _, length, position = _element(file, 0)
    position += length or 0
    while position < size:
        identifier, length, start = _element(file, position)
        if identifier == _SEGMENT:
            return _is_cut_live(file, start, size) if length is None else start + length > size
        position = start + (length or 0)
    return True


def _is_cut_live(file: BinaryIO, position: int, size: int) -> bool:
    inside_cluster = False
    while position < size:
        try:
            identifier, length, start = _element(file, position)
        except struct.error:
            # Bytes after the last element are no element: only a cut header is one that was cut.
            return size - position < 12
        if length is None:
            if identifier != _CLUSTER:
                return False
            inside_cluster = True
            position = start
            continue
        inside_cluster = inside_cluster and identifier not in _TOP_LEVEL
        position = start + length
    return position > size


def _is_cut_gif(file: BinaryIO, size: int) -> bool:
    """GIF: blocks up to the trailer ``;``. FFmpeg needs none; a file without it was cut."""
    (flags,) = _at(file, 10, "<B")
    position = 13 + _palette_size(flags)
    while True:
        (kind,) = _at(file, position, "<B")
        if kind == 0x3B:
            return False
        if kind == 0x21:
            position += 2
        elif kind == 0x2C:
            (flags,) = _at(file, position + 9, "<B")
            position += 10 + _palette_size(flags) + 1
        elif kind == 0:
            # Padding between blocks, which FFmpeg skips too.
            position += 1
            continue
        else:
            return False
        while length := _at(file, position, "<B")[0]:
            position += 1 + length
        position += 1


def _palette_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _is_cut_flv(file: BinaryIO, size: int) -> bool:
    """FLV: the sizes of the tags, and ``filesize`` of the metadata where the writer filled it in.

    Some writers end with the last tag and leave out its size, 4 bytes, which repeat.
    """
    (position,) = _at(file, 5, ">I")
    position += 4
    first = _bytes_at(file, position, 4096)
    found = first.find(b"\x00\x08filesize\x00") if first[:1] == b"\x12" else -1
    if found >= 0:
        (stated,) = struct.unpack(">d", first[found + 11 : found + 19])
        if stated > size:
            return True
    while position + 4 <= size:
        kind, high, low = _at(file, position, ">BBH")
        if kind & 0x1F not in (8, 9, 18):
            return False
        position += 11 + (high << 16 | low) + 4
    return not size <= position <= size + 4 if position > size else position != size


def _packet_size(head: bytes) -> int | None:
    for length, start in ((188, 0), (192, 4), (204, 0)):
        places = range(start, min(len(head), start + 2 * length + 1), length)
        if len(places) > 1 and all(head[place] == 0x47 for place in places):
            return length
    return None


def _is_cut_transport_stream(file: BinaryIO, size: int) -> bool:
    """MPEG-TS: packets of one size, the last one too. Where packets are missing it cannot tell."""
    length = _packet_size(_bytes_at(file, 0, 512))
    return length is not None and size % length != 0


def _is_cut_program_stream(file: BinaryIO, size: int) -> bool:
    """MPEG-PS (.mpg, .vob): the sizes of packs and packets. There is no mark of the end."""
    position = 0
    while position < size:
        header = _bytes_at(file, position, 14)
        if header[:3] != b"\x00\x00\x01":
            # Zeros may pad the end; anything else is for the decoder to judge.
            return len(header) < 4 and any(header)
        if len(header) < 4:
            return True
        if header[3] == 0xB9:
            position += 4
        elif header[3] == 0xBA:
            if len(header) < 12:
                return True
            is_mpeg2 = header[4] >> 6 == 1
            if is_mpeg2 and len(header) < 14:
                return True
            position += 14 + (header[13] & 7) if is_mpeg2 else 12
        elif header[3] >= 0xBB:
            if len(header) < 6:
                return True
            position += 6 + int.from_bytes(header[4:6], "big")
        else:
            return False
    return position > size


def _is_cut_asf(file: BinaryIO, size: int) -> bool:
    """ASF and WMV: the sizes of the objects; a live recording states 0 for its data."""
    position = 0
    while position < size:
        (length,) = _at(file, position + 16, "<Q")
        if length < 24:
            return False
        position += length
    return position > size


def _is_cut_ogg(file: BinaryIO, size: int) -> bool:
    """Ogg: the sizes of the pages; the last page of every stream is marked as such."""
    position = 0
    begun: set[int] = set()
    while position < size:
        if _bytes_at(file, position, 4) not in (b"OggS", b"OggS"[: size - position]):
            return False
        flags, serial, segments = _at(file, position + 5, "<B8xI8xB")
        begun.add(serial)
        if flags & 4:
            begun.discard(serial)
        lengths = _bytes_at(file, position + 27, segments)
        if len(lengths) < segments:
            return True
        position += 27 + segments + sum(lengths)
    return position > size or bool(begun)


def _is_cut_ivf(file: BinaryIO, size: int) -> bool:
    """IVF: the sizes of the frames."""
    (position,) = _at(file, 6, "<H")
    while position < size:
        (length,) = _at(file, position, "<I")
        position += 12 + length
    return position > size


def _is_cut_mxf(file: BinaryIO, size: int) -> bool:
    """MXF: the sizes of the parts, each after a key of 16 bytes."""
    position = 0
    while position < size:
        if _bytes_at(file, position, 4) != _SMPTE:
            return size - position < 4
        (length,) = _at(file, position + 16, ">B")
        position += 17
        if length > 0x80:
            width = length & 0x7F
            length = int.from_bytes(_bytes_at(file, position, width), "big")
            position += width
        position += length
    return position > size
