"""An nginx that runs owt, as a file beside this one: owt.server finds it."""
