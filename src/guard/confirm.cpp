// Who made the link chose everything that the page shows, and perhaps the window it is shown in. So nothing that Python
// would read is hidden: long lines wrap, the button comes after the code, characters that cannot be seen or that
// reorder others are spelt out, in code whose order is the one in memory. And no click can be lured: the button comes
// to life when the page has had the focus for a second in which nobody clicked or typed. And it is seen from its top: a
// link that ends in #:~:text=Run would show its end first.

#include "guard/confirm.hpp"

#include <algorithm>
#include <vector>

#include "call/text.hpp"
#include "call/urlencoded.hpp"
#include "guard/policy.hpp"

namespace owt {

namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --ink: #1d1f21; --soft: #62676d; --paper: #fbfaf8; --box: #fff; --edge: #dcd8d0;
  --warn: #8a4b00; --warn-box: #fff5e4; --go: #1f5f4a; --on-go: #fff; --odd: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e2de; --soft: #a09c95; --paper: #191a1b; --box: #212325;
  --edge: #3a3c3e; --warn: #f0bf7c; --warn-box: #2e2618; --go: #7cc7ab; --on-go: #10201a; --odd: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.0625rem/1.6 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; margin: 0 0 1.25rem; }
h2 { font-size: .8125rem; font-weight: 600; letter-spacing: .06em; text-transform: uppercase; color: var(--soft);
  margin: 2rem 0 .5rem; }
p { margin: 1rem 0; }
.warning { margin: 0; padding: .875rem 1.125rem; border-left: .25rem solid var(--warn); border-radius: .25rem;
  background: var(--warn-box); color: var(--warn); }
pre, code { font: .9375rem/1.55 ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace; }
pre { margin: 0; padding: 1rem 1.125rem; border: 1px solid var(--edge); border-radius: .375rem; background: var(--box);
  white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4; }
pre, code { direction: ltr; unicode-bidi: isolate-override; overflow-wrap: anywhere; font-variant-ligatures: none; }
pre + pre { margin-top: .5rem; }
.odd { color: var(--odd); border: 1px solid; border-radius: .1875rem; padding: 0 .1875rem; font-size: .8em; }
.run { flex: none; padding: .5rem 1.75rem; border-radius: .375rem; background: var(--go);
  color: var(--on-go); font-weight: 600; text-decoration: none; transition: opacity .15s; user-select: none; }
.run[aria-disabled] { opacity: .35; pointer-events: none; }
.run:focus-visible { outline: .1875rem solid var(--go); outline-offset: .1875rem; }
.act { display: flex; gap: 1rem; align-items: center; margin-top: 2rem; }
.note { color: var(--soft); font-size: .9375rem; }
)";

// The link has an href only while it may be followed. A click or a key before that, or leaving the page, begins the
// second anew; one click is enough. The focus is looked at, too, since not every change of it is an event. Until then
// nobody scrolls but the user: for browsers that do not know Document-Policy.
constexpr std::string_view script = R"(
'use strict';
const run = document.querySelector('.run');
let timer;
let stays = true;
function rest() {
  clearInterval(timer);
  run.removeAttribute('href');
  run.setAttribute('aria-disabled', 'true');
}
function live() {
  clearInterval(timer);
  stays = false;
  run.setAttribute('href', run.dataset.href);
  run.removeAttribute('aria-disabled');
}
function wait() {
  rest();
  let ticks = 0;
  timer = setInterval(() => {
    ticks = document.hasFocus() && !document.hidden ? ticks + 1 : 0;
    if (ticks > 10) live();
  }, 100);
}
function hasty() {
  if (!run.hasAttribute('href')) wait();
}
history.scrollRestoration = 'manual';
addEventListener('scroll', () => stays && scrollTo(0, 0));
for (const input of ['wheel', 'touchstart', 'pointerdown', 'keydown']) {
  addEventListener(input, () => { stays = false; }, {capture: true, passive: true});
}
addEventListener('focus', wait);
addEventListener('blur', wait);
addEventListener('pageshow', wait);
document.addEventListener('visibilitychange', wait);
addEventListener('pointerdown', hasty, true);
addEventListener('keydown', hasty, true);
run.addEventListener('click', () => run.hasAttribute('href') ? setTimeout(rest) : wait());
wait();
)";

// ---- characters ----

struct Character {
    char32_t code = 0xFFFD;
    std::size_t size = 1;
};

// The first of text, which is not empty. What is no UTF-8 is one U+FFFD for each byte.
Character first_of(std::string_view text) {
    auto lead = static_cast<unsigned char>(text[0]);
    if (lead < 0x80) {
        return {lead, 1};
    }
    std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (!is_utf8(text.substr(0, size))) {
        return {};
    }
    char32_t code = lead & (0x7FU >> size);
    for (char c : text.substr(1, size - 1)) {
        code = code << 6 | (static_cast<unsigned char>(c) & 0x3FU);
    }
    return {code, size};
}

// Not seen, or changing how others are seen. Tabs and ends of lines are no such thing.
bool is_odd(char32_t code) {
    struct Range {
        char32_t first, last;
    };
    static constexpr std::array odd = {
        Range{0x00, 0x08},       Range{0x0B, 0x1F},       Range{0x7F, 0x9F},        Range{0xAD, 0xAD},
        Range{0x34F, 0x34F},     Range{0x61C, 0x61C},     Range{0x115F, 0x1160},    Range{0x17B4, 0x17B5},
        Range{0x180B, 0x180F},   Range{0x200B, 0x200F},   Range{0x2028, 0x202E},    Range{0x2060, 0x206F},
        Range{0x2800, 0x2800},   Range{0x3164, 0x3164},   Range{0xE000, 0xF8FF},    Range{0xFE00, 0xFE0F},
        Range{0xFEFF, 0xFEFF},   Range{0xFFA0, 0xFFA0},   Range{0xFFF0, 0xFFFF},    Range{0x13430, 0x13455},
        Range{0x1BCA0, 0x1BCA3}, Range{0x1D173, 0x1D17A}, Range{0xE0000, 0x10FFFF},
    };
    return std::ranges::any_of(odd, [&](Range range) { return code >= range.first && code <= range.last; });
}

void append_odd(std::string& out, char32_t code) {
    constexpr std::string_view hex = "0123456789ABCDEF";
    out += "<span class=\"odd\">U+";
    for (int shift = code > 0xFFFF ? 20 : 12; shift >= 0; shift -= 4) {
        out += hex[code >> shift & 15];
    }
    out += "</span>";
}

// Text as HTML. Ends of lines are Python's: CR and CR LF are one, too.
void append_text(std::string& out, std::string_view text) {
    while (!text.empty()) {
        Character c = first_of(text);
        switch (c.code) {
            case '\r':
                out += text.starts_with("\r\n") ? "" : "\n";
                break;
            case 0xFFFD:
                out += "\xEF\xBF\xBD";
                break;
            default:
                if (std::string_view html = html_of(c.code); !html.empty()) {
                    out += html;
                } else if (is_odd(c.code)) {
                    append_odd(out, c.code);
                } else {
                    out += text.substr(0, c.size);
                }
        }
        text.remove_prefix(c.size);
    }
}

void append_block(std::string& out, std::string_view text) {
    // A parser drops a line's end that comes right after the tag: this one is for it.
    out += "<pre>\n";
    append_text(out, text);
    out += "</pre>\n";
}

// ---- what the query holds ----

// The fields of the query that are shown nowhere else: the code reads them, by name or through its request. Of a
// repeated parameter the first is shown above.
std::vector<std::string> other_fields(std::string_view query) {
    std::vector<std::string_view> shown = {"code", "code_b64", "code_id", "fn_name", "kwargs", "kwargs_b64"};
    std::vector<std::string> out;
    while (!query.empty()) {
        std::string_view pair = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(pair.size() + 1, query.size()));
        std::size_t equals = std::min(pair.find('='), pair.size());
        std::string name = decode_percent(pair.substr(0, equals));
        if (!pair.empty() && std::erase(shown, name) == 0) {
            out.push_back(name + " = " + decode_percent(pair.substr(std::min(equals + 1, pair.size()))));
        }
    }
    return out;
}

// ---- the page ----

void append_warning(std::string& out, const Confirmation& asked) {
    out += "<p class=\"warning\">This link asks to run the following Python on this machine, at <code>";
    append_text(out, asked.path);
    out +=
        "</code>. It can do whatever the server may do: read and change files, open connections, start programs. "
        "Run it only if you understand it and trust whoever gave you the link.</p>\n";
}

void append_code(std::string& out, const Params& params) {
    out += "<h2>Code</h2>\n";
    if (params.code.empty()) {
        out += "<p>The link does not carry the code. It names one that this server may have kept:</p>\n";
        append_block(out, "sha256:" + params.code_id);
    } else {
        append_block(out, params.code);
    }
    if (params.fn_name != "run") {
        out += "<h2>Function</h2>\n";
        append_block(out, params.fn_name);
    }
}

void append_arguments(std::string& out, const Confirmation& asked) {
    std::vector<std::string> fields = other_fields(asked.query);
    if (asked.params.kwargs) {
        out += "<h2>Arguments, read as Python</h2>\n";
        append_block(out, *asked.params.kwargs);
    }
    if (!fields.empty()) {
        out += "<h2>Further fields</h2>\n";
        for (const std::string& field : fields) {
            append_block(out, field);
        }
    }
}

void append_button(std::string& out, const Confirmation& asked) {
    // No id anywhere: a link must not choose what part of the page is seen first.
    out += "<p class=\"act\"><a class=\"run\" role=\"link\" aria-disabled=\"true\" data-href=\"";
    out += same_origin_reference(asked.target);
    out +=
        "\">Run</a>\n<span class=\"note\">Nothing has run yet. To leave it so, close this page.</span></p>\n"
        "<noscript><p class=\"note\">The button needs JavaScript. Without it, save the code to a file, read it, and "
        "send it from a terminal.</p></noscript>\n";
}

}  // namespace

std::string same_origin_reference(std::string_view target) {
    constexpr std::string_view hex = "0123456789ABCDEF";
    // Browsers take a backslash for a slash.
    constexpr std::string_view unsafe = "\"'<>`\\^{|}";
    std::string out;
    // "//host" would be another server's; "/.//host" is this one's "//host".
    if (!target.starts_with('/')) {
        out = "/";
    } else if (target.starts_with("//")) {
        out = "/.";
    }
    for (char c : target) {
        auto byte = static_cast<unsigned char>(c);
        if (c == '&') {
            out += "&amp;";
        } else if (byte <= 0x20 || byte >= 0x7F || unsafe.find(c) != std::string_view::npos) {
            out += '%';
            out += hex[byte >> 4];
            out += hex[byte & 15];
        } else {
            out += c;
        }
    }
    return out;
}

std::string confirm_page(const Confirmation& asked) {
    std::string out;
    out.reserve(style.size() + script.size() + asked.params.code.size() * 5 / 4 + asked.target.size() + 4096);
    out +=
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>Run this Python?</title>\n<style>";
    out += style;
    out += "</style>\n</head>\n<body>\n<main>\n<h1>Run this Python?</h1>\n";
    append_warning(out, asked);
    append_code(out, asked.params);
    append_arguments(out, asked);
    append_button(out, asked);
    out += "</main>\n<script>";
    out += script;
    out += "</script>\n</body>\n</html>\n";
    return out;
}

std::array<std::pair<std::string_view, std::string_view>, 9> confirm_headers() {
    static const std::string policy = content_policy(style, script);
    return {{
        {"Content-Type", "text/html; charset=utf-8"},
        {"Content-Security-Policy", policy},
        {"X-Frame-Options", "DENY"},
        {"Document-Policy", "force-load-at-top"},
        {"X-Content-Type-Options", "nosniff"},
        // The button's request has to say where it comes from.
        {"Referrer-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
    }};
}

}  // namespace owt
