def run(request, name=None):
    # Without the argument, what the path says after its first part: /hello/owt
    name = name or request.path.lstrip("/").partition("/")[2] or "owt"
    return f"Hello, {name}!\n"
