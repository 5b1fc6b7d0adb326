// In console.html stands <!--style FILE ...-->, <!--script FILE ...--> or <!--code FILE--> where what these files hold
// belongs, the last as text. So styles and scripts lie once for all pages that use them, and examples are Python that
// is tried and checked as other Python is.

#include "nginx/console_page.hpp"

#include <fstream>
#include <sstream>
#include <stdexcept>

#include "call/sha256.hpp"
#include "call/text.hpp"
#include "guard/policy.hpp"

namespace owt {

namespace {

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    if (!(text << file.rdbuf())) {
        throw std::runtime_error("cannot read " + path);
    }
    return text.str();
}

// As it may stand in an attribute or an element.
std::string quoted(std::string_view text) {
    std::string out;
    for (char c : text) {
        std::string_view html = html_of(static_cast<unsigned char>(c));
        out += html.empty() ? std::string_view(&c, 1) : html;
    }
    return out;
}

std::string read_all(const std::string& package, std::istringstream& names) {
    std::string all;
    for (std::string name; names >> name;) {
        all += (all.empty() ? "" : "\n") + read_file(package + "/" + name);
    }
    return all;
}

}  // namespace

ConsolePage read_console(const std::string& package) {
    constexpr std::string_view begin = "<!--";
    constexpr std::string_view end = "-->";
    const std::string outline = read_file(package + "/console/console.html");
    ConsolePage page;
    std::string script;
    std::size_t at = 0;
    for (std::size_t mark; (mark = outline.find(begin, at)) != std::string::npos;) {
        std::size_t close = outline.find(end, mark);
        if (close == std::string::npos) {
            throw std::runtime_error(package + "/console/console.html ends within a comment");
        }
        page.text.append(outline, at, mark - at);
        std::istringstream words(outline.substr(mark + begin.size(), close - mark - begin.size()));
        at = close + end.size();
        std::string kind;
        words >> kind;
        std::string text = read_all(package, words);
        if (kind == "code") {
            page.text += quoted(text);
            continue;
        }
        if (kind == "script") {
            script = text;
        }
        page.text.append("<").append(kind).append(">").append(text).append("</").append(kind).append(">");
    }
    page.text.append(outline, at);
    page.policy = content_policy("", script,
                                 "; connect-src 'self'; img-src blob: data:; media-src blob: data:; "
                                 "require-trusted-types-for 'script'; trusted-types owt");
    page.etag = "\"" + sha256_hex(page.text + page.policy).substr(0, 32) + "\"";
    return page;
}

std::array<std::pair<std::string_view, std::string_view>, 9> ConsolePage::headers() const {
    return {{
        {"Content-Type", "text/html; charset=utf-8"},
        {"Content-Security-Policy", policy},
        {"X-Frame-Options", "DENY"},
        // A link must not choose what part of the page is seen first.
        {"Document-Policy", "force-load-at-top"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cache-Control", "no-cache"},
        {"ETag", etag},
        {"Vary", "Accept"},
    }};
}

}  // namespace owt
