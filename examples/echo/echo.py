def run(request, name="owt"):
    return f"Hello, {name}!\n"
