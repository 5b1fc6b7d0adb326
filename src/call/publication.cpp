#include "call/publication.hpp"

#include <algorithm>

#include "call/text.hpp"

namespace owt {

namespace {

// Longer ones are no file's.
constexpr std::size_t max_name = 1024;
constexpr std::string_view suffix = ".py";

bool is_part(std::string_view part) {
    return !part.empty() && !part.starts_with('.') && !part.starts_with('_') && std::ranges::all_of(part, [](char c) {
        return static_cast<unsigned char>(c) >= 0x80 ||
               letters_and_digits.find(to_lower(c)) != std::string_view::npos || c == '_' || c == '-' || c == '.';
    });
}

std::optional<Aim> aim_below(const Publication& publication, std::string_view name, bool page) {
    if (name.empty()) {
        return Aim{std::string(door), "index", {}};
    }
    if (name == "openapi.json") {
        return Aim{std::string(door), "description", {}};
    }
    if (!is_published_name(name)) {
        return std::nullopt;
    }
    if (page) {
        return Aim{std::string(door), "form", std::string(name)};
    }
    std::string path = publication.path;
    path.append(path.ends_with('/') ? "" : "/").append(name).append(suffix);
    return Aim{std::move(path), publication.function, std::string(name)};
}

}  // namespace

bool is_published_name(std::string_view name) {
    if (name.size() > max_name || !is_utf8(name)) {
        return false;
    }
    for (;;) {
        std::size_t end = std::min(name.find('/'), name.size());
        if (!is_part(name.substr(0, end))) {
            return false;
        }
        if (end == name.size()) {
            return true;
        }
        name.remove_prefix(end + 1);
    }
}

std::optional<Aim> aim(const Publication& publication, std::string_view uri, bool page) {
    switch (publication.kind) {
        case Publication::Kind::file:
            return page ? Aim{std::string(door), "form", {}} : Aim{publication.path, publication.function, {}};
        case Publication::Kind::tools:
            return Aim{std::string(door), "tools", {}};
        case Publication::Kind::root:
            break;
    }
    std::string_view prefix = publication.prefix;
    if (!uri.starts_with(prefix)) {
        return std::nullopt;  // it has been rewritten
    }
    uri.remove_prefix(prefix.size());
    if (!prefix.ends_with('/') && !uri.empty()) {
        if (!uri.starts_with('/')) {
            return std::nullopt;  // of a longer name that begins with the location's
        }
        uri.remove_prefix(1);
    }
    return aim_below(publication, uri, page);
}

bool wants_page(std::string_view accept) {
    while (!accept.empty()) {
        std::string_view range = accept.substr(0, accept.find(','));
        accept.remove_prefix(std::min(range.size() + 1, accept.size()));
        if (same(trim(range.substr(0, range.find(';')), blanks), "text/html")) {
            return true;
        }
    }
    return false;
}

}  // namespace owt
