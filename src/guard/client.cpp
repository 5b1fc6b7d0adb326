// A front on this machine connects from here for whoever asks it. Most say for whom; what those that do not look like
// is known as well: nginx's proxy_pass speaks HTTP/1.0 unless told otherwise (until its release 1.29.7), and others add
// headers that no program sends by itself. One that says nothing passes on what its client says of itself: so HTTP/1.0
// is not believed a word. Whatever cannot be read is taken for the worst.

#include "guard/client.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "call/text.hpp"
#include "guard/shown.hpp"

namespace owt {

namespace {

using Refusal = std::optional<Problem>;

Problem remote(std::string_view what) {
    return {403, "remote-client",
            "This server runs code only for clients on its own machine. " + std::string(what) +
                "\nTo let others in, make them log in:" + line("owt_auth USER:SHA256_OF_PASSWORD;") +
                "\nor, if something else in this location decides who may (auth_basic, client certificates, allow and "
                "deny):" +
                line("owt_allow remote;")};
}

Problem remote_of_front(std::string_view what) {
    return {
        403, "remote-client",
        "This server runs code only for clients on its own machine. " + std::string(what) +
            "\nIf the front lets in only who may (it has owt_auth, or something else decides there), add here, where "
            "the unix socket is listened on:" +
            line("owt_allow remote;")};
}

// For the front to be mended; otherwise says how to let in what is no front.
Problem unnamed(std::string_view what, std::string_view otherwise, std::string_view directive) {
    return {403, "remote-client",
            std::string(what) + " If a front passed it on, add this line where it has proxy_pass:" +
                line("include owt_params;") + "\n" + std::string(otherwise) + line(directive)};
}

// What a front says of whom it asks for: an address, perhaps with a port, or nginx's name of a unix socket.
bool is_local_node(std::string_view node) {
    node = trim(node, blanks);
    if (node == "unix:" || is_local(parse_address(node))) {
        return true;
    }
    auto parts = split_port(node);
    return parts && is_local(literal(parts->first));
}

// RFC 7239. A quoted string that holds a separator has no place here: it is torn apart, and unreadable.
bool is_local_element(std::string_view element) {
    std::size_t named = 0;
    bool readable = all_parts(element, ';', [&](std::string_view pair) {
        pair = trim(pair, blanks);
        std::size_t equals = std::min(pair.find('='), pair.size());
        std::string_view name = pair.substr(0, equals);
        std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
            value = value.substr(1, value.size() - 2);
        }
        if (name.empty() || value.empty() || value.find_first_of("\"\\") != std::string_view::npos) {
            return false;
        }
        if (!same(name, "for")) {
            return name.find_first_of("\" \t") == std::string_view::npos;
        }
        ++named;
        return is_local_node(value);
    });
    return readable && named == 1;
}

bool is_local_told(const Visit::Told& told) {
    return all_parts(told.value, ',', told.way == Visit::Way::forwarded ? is_local_element : is_local_node);
}

Refusal about_told(const Visit& visit) {
    auto foreign = std::ranges::find_if_not(visit.told, is_local_told);
    if (foreign == visit.told.end()) {
        return {};
    }
    std::string what = "This request was passed on by a front that names another one: " + std::string(foreign->name) +
                       " is " + printable(foreign->value) + ".";
    return visit.through_front() ? remote_of_front(what) : remote(what);
}

// Of a front that nobody has told to name its client.
Refusal about_silence(const Visit& visit, const Rules& rules) {
    if (visit.proxy_source) {
        return {};
    }
    bool unix_socket = visit.peer.kind == Address::Kind::unix_socket;
    if (unix_socket && !visit.has_forwarded_for()) {
        return unnamed("This request came over a unix socket without X-Forwarded-For, so nobody knows for whom.",
                       "If programs open the socket themselves, and its directory decides who may, add here:",
                       "owt_allow remote;");
    }
    if (visit.http10 && !rules.http10) {
        return unnamed(
            "This request is HTTP/1.0, as those of a front that has not been told to say for whom it asks, "
            "and passes on what its client claims.",
            "If programs of this machine speak HTTP/1.0 (ab, an old wget) and no such front leads here, add "
            "here:",
            "owt_allow http10;");
    }
    if (visit.told.empty() && !visit.front_sign.empty()) {
        return unnamed(
            "This request has a header that fronts add, " + printable(visit.front_sign) +
                ", and none that names a client, so nobody knows for whom.",
            "If all who reach the front may run code, since it has a login of its own, add here:", "owt_allow remote;");
    }
    return {};
}

}  // namespace

Refusal about_client(const Visit& visit, const Rules& rules) {
    if (rules.remote || rules.has_auth || rules.published) {
        return {};
    }
    if (!is_local(visit.peer)) {
        return remote("This request comes from " + text_of(visit.peer) + ".");
    }
    if (visit.proxy_source && !is_local_node(*visit.proxy_source)) {
        return remote("This request comes, by the PROXY protocol, from " + printable(*visit.proxy_source) + ".");
    }
    auto refusal = about_told(visit);
    return refusal ? refusal : about_silence(visit, rules);
}

}  // namespace owt
