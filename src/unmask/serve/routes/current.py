"""The site that a request is about."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from unmask.serve.site import Site


def current_site(request: Request) -> Site:
    """The site of the application."""
    return request.app.state.site


Current = Annotated[Site, Depends(current_site)]
