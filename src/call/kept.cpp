#include "call/kept.hpp"

#include <algorithm>
#include <charconv>

#include "call/params.hpp"
#include "call/sha256.hpp"
#include "call/text.hpp"

namespace owt {

namespace {

// The members of a list (RFC 9110, 5.6.1), until visit returns false. A comma in quotes may part one in two: what is
// looked for holds none.
template <typename Visit>
void each_member(std::string_view list, Visit visit) {
    while (!list.empty()) {
        std::string_view member = list.substr(0, list.find(','));
        list.remove_prefix(std::min(member.size() + 1, list.size()));
        visit(trim(member, blanks));
    }
}

bool may_be_kept(int status) {
    return (status >= 200 && status < 400 && status != 206 && status != 304);
}

// RFC 9111, 1.2.2; what is no number is stale at once (4.2.1).
std::chrono::seconds seconds_of(std::string_view text) {
    if (text.size() >= 2 && text.starts_with('"') && text.ends_with('"')) {
        text = text.substr(1, text.size() - 2);
    }
    if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) {
        return std::chrono::seconds(0);
    }
    std::int64_t seconds = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    constexpr std::int64_t most = 1LL << 31;
    return std::chrono::seconds(error == std::errc{} ? std::min(seconds, most) : most);
}

void read_cache_control(std::string_view value, Terms& terms, bool& shared) {
    each_member(value, [&](std::string_view member) {
        std::string_view name = trim(member.substr(0, member.find('=')), blanks);
        std::string_view argument = trim(member.substr(std::min(name.size() + 1, member.size())));
        if (same(name, "no-store") || same(name, "no-cache")) {
            terms.refused = "no-store";
        } else if (same(name, "private")) {
            terms.refused = "private";
        } else if (same(name, "s-maxage")) {
            shared = true;
            terms.lifetime = seconds_of(argument);
        } else if (same(name, "max-age") && !shared) {
            terms.lifetime = seconds_of(argument);
        }
    });
}

std::string etag_of(std::string_view body) {
    return "\"" + sha256_hex(body).substr(0, 32) + "\"";
}

void add_etag(Head& head, std::string_view body) {
    bool has_one = std::ranges::any_of(head.headers, [](const Header& header) { return same(header.name, "ETag"); });
    if (head.status == 200 && !has_one) {
        head.headers.push_back({"ETag", etag_of(body)});
    }
}

std::size_t size_of(const std::vector<Piece>& pieces) {
    std::size_t size = 0;
    for (const Piece& piece : pieces) {
        size += piece.bytes.size();
    }
    return size;
}

}  // namespace

Terms terms_of(const Head& head) {
    Terms terms;
    bool shared = false;
    bool expires = false;
    if (!may_be_kept(head.status)) {
        terms.refused = "status";
    }
    for (const Header& header : head.headers) {
        if (same(header.name, "Set-Cookie")) {
            terms.refused = "set-cookie";
        } else if (same(header.name, "Cache-Control")) {
            read_cache_control(header.value, terms, shared);
        } else if (same(header.name, "Expires")) {
            expires = true;
        } else if (same(header.name, "Vary")) {
            each_member(header.value, [&](std::string_view member) {
                if (same(member, "Accept")) {
                    terms.by_accept = true;
                } else if (!member.empty()) {
                    terms.refused = "vary";
                }
            });
        }
    }
    if (terms.refused == nullptr && terms.lifetime && terms.lifetime->count() == 0) {
        terms.refused = "no-store";
    }
    if (terms.refused == nullptr && expires && !terms.lifetime) {
        terms.refused = "expires";  // a date, where max-age is a time
    }
    return terms;
}

bool has_directive(std::string_view cache_control, std::string_view name) {
    bool found = false;
    each_member(cache_control, [&](std::string_view member) { found = found || same(member, name); });
    return found;
}

std::string write_head(const Head& head) {
    // No name and no value holds a NUL: complain() sees to that.
    std::string text = std::to_string(head.status);
    text.push_back('\0');
    for (const Header& header : head.headers) {
        text.append(header.name).push_back('\0');
        text.append(header.value).push_back('\0');
    }
    return text;
}

int status_in(std::string_view text) {
    int status = 0;
    std::from_chars(text.data(), text.data() + text.size(), status);
    return status;
}

std::string_view etag_in(std::string_view text) {
    std::string_view etag;
    each_header_in(text, [&](std::string_view name, std::string_view value) {
        if (same(name, "ETag")) {
            etag = value;
        }
    });
    return etag;
}

void Recording::begin(Head& head, bool whole, const std::vector<Piece>& pieces) {
    terms_ = terms_of(head);
    if (terms_.refused != nullptr) {
        give_up(terms_.refused);
    } else if (whole && size_of(pieces) > limit_) {
        give_up("too-large");
    }
    if (refused_ != nullptr) {
        return;
    }
    if (whole) {
        body_.reserve(size_of(pieces));
        add(pieces);
        add_etag(head, body_);
    }
    head_ = head;
}

void Recording::add(const std::vector<Piece>& pieces) {
    if (refused_ != nullptr) {
        return;
    }
    if (size_of(pieces) > limit_ - body_.size()) {
        give_up("too-large");
        return;
    }
    for (const Piece& piece : pieces) {
        body_.append(piece.bytes);
    }
}

void Recording::give_up(const char* why) {
    if (refused_ == nullptr) {
        refused_ = why;
    }
    head_ = {};
    body_ = {};
    body_.shrink_to_fit();
}

Kept Recording::take() {
    add_etag(head_, body_);
    return {write_head(head_), std::move(body_), terms_, {}};
}

}  // namespace owt
