"""The form of POST /image: a file in one field."""

from flask import Request

from serving.bodies import BodyError

FIELD = "image"


def check_form(request: Request) -> None:
    """Refuse what is no form, before anything of it is read.

    Raises:
        BodyError: another Content-Type, or one without the boundary that parts the fields.
    """
    if request.mimetype != "multipart/form-data":
        raise BodyError(f"expected multipart/form-data with a file in the field '{FIELD}'", 415)
    if not request.mimetype_params.get("boundary"):
        raise BodyError(
            "Content-Type has no boundary, expected multipart/form-data; boundary=...; let the "
            "HTTP library set it"
        )


def read_picture(request: Request) -> bytes:
    """Read the file.

    Raises:
        BodyError: there is none.
    """
    uploaded = request.files.get(FIELD)
    if uploaded is not None:
        content: bytes = uploaded.read()
        return content
    if FIELD in request.form:
        raise BodyError(
            f"no file in the field '{FIELD}' but text; with curl: -F {FIELD}=@photo.jpg"
        )
    raise BodyError(f"no file in the field '{FIELD}'; names of files in the form must be UTF-8")
