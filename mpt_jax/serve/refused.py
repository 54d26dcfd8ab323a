"""What a request is refused with, other than for bad input, which is a `UserError`."""


class RefusedError(Exception):
    """A request that is not answered.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
