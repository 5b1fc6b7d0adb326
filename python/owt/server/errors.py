"""Why a server cannot start."""


class ServerError(Exception):
    """Its text says what to do instead."""
