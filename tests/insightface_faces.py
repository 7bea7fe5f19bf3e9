"""Finds faces with insightface, as its users do: python insightface_faces.py PACK SQUARES FACES.

Runs in a Python that has insightface, for the test that compares. SQUARES is an .npy file of
uint8 (N, 640, 640, 3), red first; FACES becomes an .npz file of all faces, with their pictures.
"""

import sys
from typing import Any

import numpy as np


def main(pack: str, squares_path: str, faces_path: str) -> None:
    from insightface.app import FaceAnalysis

    analysis = FaceAnalysis(
        pack, allowed_modules=("detection", "recognition"), providers=["CPUExecutionProvider"]
    )
    analysis.prepare(ctx_id=-1, det_size=(640, 640))
    found: list[tuple[Any, ...]] = []
    for number, square in enumerate(np.load(squares_path, mmap_mode="r")):
        for face in analysis.get(np.ascontiguousarray(square[:, :, ::-1]), max_num=512):
            found.append((number, face.bbox, face.det_score, face.kps, face.normed_embedding))
    names = ("number", "bbox", "det_score", "landmark", "embedding")
    columns: Any = dict(zip(names, map(np.array, zip(*found, strict=True)), strict=True))
    np.savez(faces_path, **columns)


if __name__ == "__main__":
    main(*sys.argv[1:])
