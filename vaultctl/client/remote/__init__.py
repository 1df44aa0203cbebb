"""The remote adapter: carries requests to a server over HTTP.

What is sent, what an answer means and what is tried again is in :mod:`.exchange`, how a log is followed in
:mod:`.feed` over :mod:`.event_stream`: they know no connection. :mod:`.adapter` and :mod:`.async_adapter` drive them,
with what both need to know of httpx in :mod:`.transport`.
"""
