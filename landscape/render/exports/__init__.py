"""Files for other programs: ParaView, mesh viewers, browsers and spreadsheets.

A format imports its libraries when it is used, so that ``.csv`` and ``.xdmf`` load neither VTK nor matplotlib.
"""
