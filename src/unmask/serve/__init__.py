"""The page of ``unmask serve``: forms over ``unmask.api``, no algorithm of its own.

``start`` runs the server, ``app`` holds the routes, ``page/`` is what the browser gets. Everything
that the server keeps is an ordinary file in the folder that it serves: label images in ``labels/``,
predictions in ``predictions/``, run folders in ``runs/`` and its own notes in ``.unmask/``.
"""
