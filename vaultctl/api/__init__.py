"""The HTTP server: decodes, lets the engine authenticate and answer, encodes. It knows no rule of its own."""
