"""Algebra: one function for each task; the answer as text, LaTeX or a picture, as the client accepts or asks for.

SymPy evaluates the expressions that it is given as Python, which is no more than owt does with this file.
"""

import io
import threading

import sympy
from matplotlib.mathtext import math_to_image

FORMS = {"text": "text/plain", "latex": "text/latex", "svg": "image/svg+xml"}


def solve(request, equation: str, x: str = "x", form: str = ""):
    left, _, right = equation.partition("=")
    return answer(request, form, sympy.solveset(sympy.sympify(left) - sympy.sympify(right or 0), sympy.Symbol(x)))


def integrate(request, of: str, x: str = "x", form: str = ""):
    return answer(request, form, sympy.integrate(sympy.sympify(of), sympy.Symbol(x)))


def differentiate(request, of: str, x: str = "x", form: str = ""):
    return answer(request, form, sympy.diff(sympy.sympify(of), sympy.Symbol(x)))


def simplify(request, what: str, form: str = ""):
    return answer(request, form, sympy.simplify(what))


def answer(request, form: str, result: sympy.Basic):
    if form and form not in FORMS:
        return f"form is one of {', '.join(FORMS)}.\n", 400, {"Content-Type": "text/plain"}
    mimetype = FORMS[form] if form else request.accept_mimetypes.best_match(FORMS.values(), default="text/plain")
    headers = {"Content-Type": f"{mimetype}; charset=utf-8", "Vary": "Accept"}
    if mimetype == "image/svg+xml":
        return picture(sympy.latex(result)), headers
    return (sympy.latex(result) if mimetype == "text/latex" else str(result)) + "\n", headers


turn = threading.Lock()  # Matplotlib reads one formula at a time


def picture(latex: str) -> bytes:
    file = io.BytesIO()
    with turn:
        math_to_image(f"${latex}$", file, format="svg")
    return file.getvalue()
