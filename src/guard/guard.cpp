// Four questions, one after the other: does the client sit at this machine, is the server called what the client calls
// it, does a browser only guess that the answer may be wanted, and which page does a browser ask for. Whatever cannot
// be read is taken for the worst.
//
// What a client sent is shown in a refusal only in printable ASCII and in bounded length, and as a line of
// configuration only where it is plausible as a name.

#include "guard/guard.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

namespace owt {

namespace {

using Values = std::vector<std::string_view>;

constexpr std::string_view letters_and_digits = "0123456789abcdefghijklmnopqrstuvwxyz";
constexpr std::size_t max_host = 253;
constexpr std::size_t max_shown = 60;
// What a preflight may ask for is told back to it: a bound keeps that short.
constexpr std::size_t max_headers = 1000;

char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), to_lower);
    return out;
}

bool same(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, to_lower, to_lower);
}

std::string_view trim(std::string_view text) {
    std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
    text.remove_prefix(begin);
    return text.substr(0, text.find_last_not_of(" \t") + 1);
}

bool contains(const std::vector<std::string>& list, std::string_view text) {
    return std::ranges::find(list, text) != list.end();
}

bool is_only(const Values& values, std::string_view value) {
    return values.size() == 1 && values[0] == value;
}

// True if all parts of a list pass, and there are any.
template <typename Test>
bool all_parts(std::string_view text, char separator, Test test) {
    for (;;) {
        std::size_t end = std::min(text.find(separator), text.size());
        if (!test(text.substr(0, end))) {
            return false;
        }
        if (end == text.size()) {
            return true;
        }
        text.remove_prefix(end + 1);
    }
}

// ---- addresses ----

// The IPv4 address that an IPv6 one stands for: a socket that takes both shows it so.
Address unmapped(const Address& address) {
    constexpr std::array<std::uint8_t, 12> prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    if (address.kind != Address::Kind::v6 || !std::equal(prefix.begin(), prefix.end(), address.bytes.begin())) {
        return address;
    }
    Address out;
    out.kind = Address::Kind::v4;
    std::copy(address.bytes.begin() + prefix.size(), address.bytes.end(), out.bytes.begin());
    return out;
}

bool is_unspecified(const Address& address) {
    Address plain = unmapped(address);
    return plain.kind != Address::Kind::unix_socket && plain.bytes == Address{}.bytes;
}

std::string text_of(const Address& address) {
    if (address.kind == Address::Kind::unix_socket) {
        return "a unix socket";
    }
    std::array<char, INET6_ADDRSTRLEN> text{};
    int family = address.kind == Address::Kind::v4 ? AF_INET : AF_INET6;
    if (address.kind == Address::Kind::none ||
        inet_ntop(family, address.bytes.data(), text.data(), text.size()) == nullptr) {
        return "an unknown address";
    }
    return text.data();
}

// A host that is an address: 127.0.0.1, [::1].
Address literal(std::string_view host) {
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        Address address = parse_address(host.substr(1, host.size() - 2));
        return address.kind == Address::Kind::v6 ? address : Address{};
    }
    Address address = parse_address(host);
    return address.kind == Address::Kind::v4 ? address : Address{};
}

// ---- hosts and origins ----

// Browsers take a name whose last label is a number for an IPv4 address, in octal, hex or with parts left out.
bool ends_in_number(std::string_view host) {
    std::string_view label = host.substr(host.rfind('.') + 1);
    if (label.starts_with("0x")) {
        label.remove_prefix(2);
        return label.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    }
    return label.find_first_not_of("0123456789") == std::string_view::npos;
}

// host is in lower case.
bool is_name(std::string_view host) {
    auto is_label = [](std::string_view label) {
        return !label.empty() && label.size() <= 63 && std::ranges::all_of(label, [](char c) {
            return letters_and_digits.find(c) != std::string_view::npos || c == '-' || c == '_';
        });
    };
    return !host.empty() && host.size() <= max_host && all_parts(host, '.', is_label) &&
           host.find_first_of(letters_and_digits) != std::string_view::npos && !ends_in_number(host);
}

struct Authority {
    std::string host;  // canonical, empty if it is none
    std::optional<std::uint16_t> port;
};

std::optional<std::uint16_t> read_port(std::string_view text) {
    if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string_view::npos) {
        return std::nullopt;
    }
    unsigned port = 0;
    for (char c : text) {
        port = port * 10 + static_cast<unsigned>(c - '0');
    }
    return port <= 0xFFFF ? std::optional(static_cast<std::uint16_t>(port)) : std::nullopt;
}

// host or host:port. The host is left as it came.
std::optional<std::pair<std::string_view, std::optional<std::uint16_t>>> split_port(std::string_view text) {
    std::size_t begin = text.starts_with('[') ? std::min(text.find(']'), text.size()) : 0;
    std::size_t colon = text.find(':', begin);
    if (colon == std::string_view::npos) {
        return std::pair(text, std::optional<std::uint16_t>());
    }
    auto port = read_port(text.substr(colon + 1));
    if (!port) {
        return std::nullopt;
    }
    return std::pair(text.substr(0, colon), port);
}

Authority read_authority(std::string_view text) {
    auto parts = split_port(text);
    return parts ? Authority{canonical_host(parts->first), parts->second} : Authority{};
}

std::string origin_of(std::string_view scheme, std::string_view host, std::uint16_t port) {
    std::string out(scheme);
    out.append("://").append(host).append(":").append(std::to_string(port));
    return out;
}

std::uint16_t default_port(std::string_view scheme) {
    return scheme == "https" ? 443 : 80;
}

// A browser's other origins, as chrome-extension://: kept as they come.
bool is_other_origin(std::string_view scheme, std::string_view rest) {
    auto outside = [](std::string_view text, std::string_view more) {
        return std::ranges::any_of(text, [&](char c) {
            return letters_and_digits.find(c) == std::string_view::npos && more.find(c) == std::string_view::npos;
        });
    };
    return !scheme.empty() && scheme[0] >= 'a' && !outside(scheme, "+-.") && !rest.empty() && rest.size() <= max_host &&
           !outside(lower(rest), "-._:[]");
}

// No web page comes to a unix socket but through a front, which passes on what it is called itself.
bool through_front(const Visit& visit) {
    return visit.local.kind == Address::Kind::unix_socket;
}

// The request's own origin: what a page of this server has. Empty if it is unclear.
std::string own_origin(const Visit& visit) {
    bool https = visit.https || (through_front(visit) && is_only(visit[Visit::forwarded_proto], "https"));
    std::string_view scheme = https ? "https" : "http";
    std::string host = canonical_host(visit.host);
    if (host.empty()) {
        return {};
    }
    std::uint16_t port = visit.port;
    // Through a forwarded port the client knows the server by another one than it has.
    const Values& sent = visit[Visit::host_header];
    if (sent.size() == 1) {
        if (Authority authority = read_authority(sent[0]); authority.host == host) {
            port = authority.port.value_or(default_port(scheme));
        }
    }
    return origin_of(scheme, host, port);
}

// ---- refusals ----

std::string shown(std::string_view text) {
    std::string out = "'";
    for (char c : text.substr(0, max_shown)) {
        out += c >= ' ' && c <= '~' ? c : '?';
    }
    out += text.size() > max_shown ? "...'" : "'";
    return out;
}

// A line of configuration stands by itself, to be copied.
std::string line(std::string_view directive) {
    return "\n\n    " + std::string(directive) + "\n";
}

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

Problem unknown_host(std::string_view what) {
    return {421, "unknown-host", std::string(what)};
}

Problem foreign_page(std::string_view what) {
    return {403, "foreign-page", std::string(what)};
}

// ---- 1. remote clients ----

// What a front says of whom it asks for: an address, perhaps with a port, or nginx's name of a unix socket.
bool is_local_node(std::string_view node) {
    node = trim(node);
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
        pair = trim(pair);
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

Refusal about_forwarded(const Visit& visit) {
    struct Test {
        Visit::Name name;
        std::string_view shown_name;
        bool (*is_local)(std::string_view part);
    };
    for (const Test& test :
         {Test{Visit::forwarded_for, "X-Forwarded-For", is_local_node},
          Test{Visit::real_ip, "X-Real-IP", is_local_node}, Test{Visit::forwarded, "Forwarded", is_local_element}}) {
        for (std::string_view value : visit[test.name]) {
            if (!all_parts(value, ',', test.is_local)) {
                std::string what =
                    "This request was passed on by a front that names another one: " + std::string(test.shown_name) +
                    " is " + shown(value) + ".";
                return through_front(visit) ? remote_of_front(what) : remote(what);
            }
        }
    }
    return {};
}

Refusal about_client(const Visit& visit, const Rules& rules) {
    if (rules.remote || rules.has_auth) {
        return {};
    }
    if (!is_local(visit.peer)) {
        return remote("This request comes from " + text_of(visit.peer) + ".");
    }
    if (visit.proxy_source && !is_local_node(*visit.proxy_source)) {
        return remote("This request comes, by the PROXY protocol, from " + shown(*visit.proxy_source) + ".");
    }
    if (auto refusal = about_forwarded(visit)) {
        return refusal;
    }
    if (visit.peer.kind == Address::Kind::unix_socket && visit[Visit::forwarded_for].empty()) {
        return Problem{403, "remote-client",
                       "This request came over a unix socket without X-Forwarded-For, so nobody knows for whom. If a "
                       "front passed it on, add this line where it has proxy_pass:" +
                           line("include owt_params;") +
                           "\nIf programs open the socket themselves, and its directory decides who may, add here:" +
                           line("owt_allow remote;")};
    }
    return {};
}

// ---- 2. Host ----

Refusal about_host(const Visit& visit, const Rules& rules) {
    if (visit.host.empty()) {
        return unknown_host("The request names no host. Send a Host header, as localhost.");
    }
    std::string host = canonical_host(visit.host);
    if (host.empty()) {
        return unknown_host("The Host " + shown(visit.host) +
                            " is neither a name nor an address as it is usually written. Ask for localhost or "
                            "127.0.0.1, or for one of the server's names.");
    }
    Address address = literal(host);
    if (address.kind != Address::Kind::none) {
        if (is_unspecified(address)) {
            return unknown_host("The Host " + shown(visit.host) +
                                " is the address of no machine. Ask for localhost or 127.0.0.1.");
        }
        if (is_local(address) || unmapped(address) == unmapped(visit.local) || through_front(visit)) {
            return {};
        }
    } else if (host == "localhost" || host.ends_with(".localhost")) {
        return {};
    }
    if (contains(rules.server_names, host) || contains(rules.hosts, host) ||
        (through_front(visit) && contains(rules.all_server_names, host))) {
        return {};
    }
    return unknown_host(
        "This server does not know itself as " + host +
        ". A page on the web can give any name to this machine's address, so only known names are answered. If this "
        "is one of the server's own, add this line to its configuration:" +
        line("owt_allow host " + host + ";"));
}

// ---- 3. and 4. pages ----

Refusal about_prefetch(const Visit& visit) {
    auto guesses = [](std::string_view value) {
        std::string text = lower(value);
        return text.find("prefetch") != std::string::npos || text.find("prerender") != std::string::npos ||
               text.find("preview") != std::string::npos;
    };
    // Nothing but a browser that guesses sends the first. The others are its older spellings.
    if (visit[Visit::sec_purpose].empty() && std::ranges::none_of(visit[Visit::purpose], guesses) &&
        std::ranges::none_of(visit[Visit::moz], guesses)) {
        return {};
    }
    return Problem{
        403, "prefetch",
        "This asks for an answer that nobody may want yet (Sec-Purpose), and code is not run on a guess. Ask "
        "when it is wanted, without prefetching."};
}

// Or says nothing of the mode.
bool is_cors(const Visit& visit) {
    const Values& mode = visit[Visit::fetch_mode];
    return mode.empty() || is_only(mode, "cors");
}

// A script's request, for all one can see. A form or a link on a foreign page is none; browsers send the password that
// they remember along with it.
bool is_scripted(const Visit& visit) {
    return visit[Visit::upgrade_insecure].empty() && is_cors(visit);
}

// The origin to name to a browser as allowed; empty if it is not.
std::string_view allowed_origin(const Visit& visit, const Rules& rules) {
    const Values& sent = visit[Visit::origin];
    if (sent.size() != 1 || (rules.origins.empty() && !rules.any_origin)) {
        return {};
    }
    std::string origin = canonical_origin(sent[0]);
    if (origin.empty()) {
        return {};
    }
    if (contains(rules.origins, origin)) {
        return sent[0];
    }
    return rules.any_origin && rules.has_auth && is_scripted(visit) ? "*" : std::string_view();
}

// scheme://authority of a URL.
std::string_view origin_part(std::string_view url) {
    std::size_t authority = url.find("://");
    return authority == std::string_view::npos ? url : url.substr(0, url.find_first_of("/?#", authority + 3));
}

// By headers that programs do not send. Node's fetch() is a program, and sends Sec-Fetch-Mode: cors; from a foreign
// page a browser sends an Origin with that.
bool is_browser(const Visit& visit) {
    return !visit[Visit::upgrade_insecure].empty() || !is_cors(visit) || !visit[Visit::fetch_dest].empty();
}

bool calls_itself_browser(const Visit& visit) {
    return std::ranges::any_of(visit[Visit::user_agent],
                               [](std::string_view agent) { return agent.find("Mozilla/") != std::string_view::npos; });
}

Problem refuse_origin(std::string_view origin) {
    return foreign_page("A page of " + std::string(origin) +
                        " asks for this, and only this server's own pages may. If its scripts may run code here, add "
                        "this line to the server's configuration:" +
                        line("owt_allow origin " + std::string(origin) + ";"));
}

Problem refuse_page(const Visit& visit) {
    const Values& sent = visit[Visit::origin];
    if (is_only(sent, "null")) {
        return foreign_page(
            "The page that asks is nobody's (Origin: null): it is a file, or in a sandboxed frame. Serve it from a web "
            "server, and allow that:" +
            line("owt_allow origin http://ITS_HOST;"));
    }
    if (sent.size() == 1 && !canonical_origin(sent[0]).empty()) {
        return refuse_origin(sent[0]);
    }
    if (!sent.empty()) {
        return foreign_page("The request's Origin cannot be read: " + shown(sent[0]) +
                            (sent.size() > 1 ? ", and there are several." : "."));
    }
    if (!visit[Visit::referer].empty() && !is_browser(visit) && !calls_itself_browser(visit)) {
        std::string_view origin = origin_part(visit[Visit::referer][0]);
        return canonical_origin(origin).empty()
                   ? foreign_page("The request's Referer is no page of this server: " + shown(origin) +
                                  ". A program passes without Referer.")
                   : refuse_origin(origin);
    }
    return foreign_page(
        "A browser asks for this, not for a page of this server, and does not say for which. A link works in a tab of "
        "its own, not in a frame; a script calls by fetch() in mode cors, from an origin that is allowed:" +
        line("owt_allow origin http://ITS_HOST;") +
        "\nA program that is no browser passes without Sec-Fetch-* headers and with a User-Agent of its own.");
}

Verdict refuse(Problem problem) {
    Verdict verdict;
    verdict.kind = Verdict::Kind::refuse;
    verdict.problem = std::move(problem);
    return verdict;
}

// A link that was followed. Without code there is nothing to confirm.
Verdict follow_link(const Visit& visit, const Rules& rules) {
    Verdict verdict;
    if (visit.names_code && !rules.links) {
        verdict.kind = Verdict::Kind::confirm;
    }
    return verdict;
}

Verdict judge_fetch(const Visit& visit, const Rules& rules) {
    const Values& site = visit[Visit::fetch_site];
    if (is_only(site, "same-origin")) {
        return {};
    }
    bool known = is_only(site, "cross-site") || is_only(site, "same-site") || is_only(site, "none");
    if (known && visit.method == "GET" && is_only(visit[Visit::fetch_mode], "navigate") &&
        is_only(visit[Visit::fetch_dest], "document")) {
        return follow_link(visit, rules);
    }
    return refuse(refuse_page(visit));
}

bool is_own(const Visit& visit, std::string_view origin) {
    std::string own = own_origin(visit);
    return !own.empty() && canonical_origin(origin) == own;
}

bool has_own_referer(const Visit& visit) {
    const Values& sent = visit[Visit::referer];
    return sent.size() == 1 && is_own(visit, origin_part(sent[0]));
}

bool has_foreign_referer(const Visit& visit, const Rules& rules) {
    const Values& sent = visit[Visit::referer];
    return !sent.empty() && (sent.size() > 1 || !contains(rules.origins, canonical_origin(origin_part(sent[0]))));
}

// Browsers say no more over plain HTTP, unless to the machine itself.
Verdict judge_plain(const Visit& visit, const Rules& rules) {
    if (const Values& sent = visit[Visit::origin]; !sent.empty()) {
        return sent.size() == 1 && is_own(visit, sent[0]) ? Verdict() : refuse(refuse_page(visit));
    }
    if (has_own_referer(visit)) {
        return {};
    }
    // Sent with what is shown in a tab or a frame, and with nothing else. In a frame the page shows nothing.
    if (!visit[Visit::upgrade_insecure].empty() && visit.method == "GET") {
        return follow_link(visit, rules);
    }
    // A browser's POST has an Origin, so that one without is a program's, whatever it calls itself.
    if (is_browser(visit) || (calls_itself_browser(visit) && visit.method != "POST") ||
        has_foreign_referer(visit, rules)) {
        return refuse(refuse_page(visit));
    }
    return {};
}

// ---- CORS ----

// What a preflight asks to be allowed, if it consists of names.
std::string header_names(const Values& asked) {
    std::string out;
    for (std::string_view value : asked) {
        bool names = all_parts(value, ',', [](std::string_view name) {
            name = trim(name);
            return !name.empty() && std::ranges::all_of(lower(name), [](char c) {
                return letters_and_digits.find(c) != std::string_view::npos || c == '-' || c == '_';
            });
        });
        if (!names || out.size() + value.size() > max_headers) {
            return {};
        }
        out.append(out.empty() ? "" : ", ").append(value);
    }
    return out;
}

Verdict judge_page(const Visit& visit, const Rules& rules, bool allowed) {
    if (allowed) {
        Verdict verdict;
        if (visit.method == "OPTIONS" && visit[Visit::preflight_method].size() == 1) {
            verdict.kind = Verdict::Kind::preflight;
            verdict.allow_headers = header_names(visit[Visit::preflight_headers]);
        }
        return verdict;
    }
    Verdict verdict = visit[Visit::fetch_site].empty() ? judge_plain(visit, rules) : judge_fetch(visit, rules);
    if (visit.method == "OPTIONS" && verdict.kind == Verdict::Kind::refuse) {
        verdict.problem.status = 405;
    }
    return verdict;
}

// ---- configuration ----

std::string why_no_host(std::string_view text) {
    if (text.find("://") != std::string_view::npos || text.find('/') != std::string_view::npos) {
        return " is an address of a page: give the host alone, as gpu.example.com";
    }
    if (text.find_first_of("*~") != std::string_view::npos || text.starts_with('.')) {
        return " stands for many hosts: give each by its name";
    }
    if (auto parts = split_port(text); parts && parts->second && !canonical_host(parts->first).empty()) {
        return " has a port: give the host alone, it counts for all ports";
    }
    if (!text.empty() && ends_in_number(lower(text))) {
        return " is no address: write IPv4 as four decimal numbers, as 192.0.2.7";
    }
    return " is no host: give a name (international ones as xn--...), or an address, as 192.0.2.7 or [2001:db8::7]";
}

std::string why_no_origin(std::string_view text) {
    std::size_t authority = text.find("://");
    if (text == "null") {
        return " is the origin of every file and sandboxed frame, whoever made it: give an origin that is somebody's";
    }
    if (authority == std::string_view::npos) {
        return " has no scheme: give the origin as https://example.com";
    }
    if (text.find('*') != std::string_view::npos) {
        return " stands for many origins: give each one exactly, or * alone";
    }
    std::string_view origin = origin_part(text);
    if (origin.size() < text.size() && !canonical_origin(origin).empty()) {
        return " has a path: give the origin alone, " + std::string(origin);
    }
    return " is no origin: give a scheme, a host, and a port if it is not the usual one, as https://example.com:8443";
}

}  // namespace

Address address_of(const sockaddr* address) {
    Address out;
    if (address == nullptr) {
        return out;
    }
    switch (address->sa_family) {
        case AF_UNIX:
            out.kind = Address::Kind::unix_socket;
            break;
        case AF_INET: {
            sockaddr_in v4;
            std::memcpy(&v4, address, sizeof v4);
            out.kind = Address::Kind::v4;
            std::memcpy(out.bytes.data(), &v4.sin_addr, sizeof v4.sin_addr);
            break;
        }
        case AF_INET6: {
            sockaddr_in6 v6;
            std::memcpy(&v6, address, sizeof v6);
            out.kind = Address::Kind::v6;
            std::memcpy(out.bytes.data(), &v6.sin6_addr, sizeof v6.sin6_addr);
            break;
        }
        default:
            break;
    }
    return out;
}

Address parse_address(std::string_view text) {
    Address out;
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) {
        return out;
    }
    std::ranges::copy(text, terminated.begin());
    if (inet_pton(AF_INET, terminated.data(), out.bytes.data()) == 1) {
        out.kind = Address::Kind::v4;
    } else if (inet_pton(AF_INET6, terminated.data(), out.bytes.data()) == 1) {
        out.kind = Address::Kind::v6;
    } else {
        out = {};
    }
    return out;
}

bool is_local(const Address& address) {
    switch (Address plain = unmapped(address); plain.kind) {
        case Address::Kind::unix_socket:
            return true;
        case Address::Kind::v4:
            return plain.bytes[0] == 127;
        case Address::Kind::v6:
            return plain.bytes == std::array<std::uint8_t, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
        default:
            return false;
    }
}

std::string canonical_host(std::string_view text) {
    if (text.size() > max_host + 1) {
        return {};
    }
    // The dot says that a name is whole; nginx drops it, too.
    if (text.ends_with('.')) {
        text.remove_suffix(1);
    }
    switch (Address address = literal(text); address.kind) {
        case Address::Kind::v4:
            return text_of(address);
        case Address::Kind::v6:
            return "[" + text_of(address) + "]";
        default:
            break;
    }
    std::string name = lower(text);
    return is_name(name) ? name : std::string();
}

std::string canonical_origin(std::string_view text) {
    std::size_t end = text.find("://");
    if (end == std::string_view::npos) {
        return {};
    }
    std::string_view scheme = text.substr(0, end);
    std::string_view rest = text.substr(end + 3);
    if (scheme == "http" || scheme == "https") {
        Authority authority = read_authority(rest);
        return authority.host.empty()
                   ? std::string()
                   : origin_of(scheme, authority.host, authority.port.value_or(default_port(scheme)));
    }
    return is_other_origin(scheme, rest) ? std::string(text) : std::string();
}

Complaint Rules::allow_host(std::string_view text) {
    std::string host = canonical_host(text);
    // Addresses are often written without the brackets that they have in a URL.
    if (Address address = parse_address(text); host.empty() && address.kind == Address::Kind::v6) {
        host = canonical_host("[" + std::string(text) + "]");
    }
    if (host.empty()) {
        return shown(text) + why_no_host(text);
    }
    if (Address address = literal(host); address.kind != Address::Kind::none && is_unspecified(address)) {
        return shown(text) + " is the address of no machine: give one that clients use";
    }
    hosts.push_back(std::move(host));
    return {};
}

Complaint Rules::allow_origin(std::string_view text) {
    if (text == "*") {
        any_origin = true;
        return {};
    }
    std::string origin = canonical_origin(text);
    if (origin.empty()) {
        return shown(text) + why_no_origin(text);
    }
    origins.push_back(std::move(origin));
    return {};
}

void Rules::add_server_name(std::string_view name, bool own) {
    std::string host = canonical_host(name);
    if (host.empty()) {
        return;
    }
    if (own) {
        server_names.push_back(host);
    }
    all_server_names.push_back(std::move(host));
}

Complaint Rules::check() const {
    if (any_origin && !has_auth) {
        return "'*' lets every page on the web run code here: name the origins, or add owt_auth";
    }
    return {};
}

void Visit::add(std::string_view name, std::string_view value) {
    static constexpr std::array<std::string_view, names> watched = {
        "host",
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "x-forwarded-proto",
        "sec-fetch-site",
        "sec-fetch-mode",
        "sec-fetch-dest",
        "sec-purpose",
        "purpose",
        "x-moz",
        "origin",
        "referer",
        "user-agent",
        "upgrade-insecure-requests",
        "access-control-request-method",
        "access-control-request-headers",
    };
    auto found = std::ranges::find_if(watched, [&](std::string_view known) { return same(known, name); });
    if (found != watched.end()) {
        headers[static_cast<std::size_t>(found - watched.begin())].push_back(value);
    }
}

Verdict guard(const Visit& visit, const Rules& rules) {
    if (auto refusal = about_client(visit, rules)) {
        return refuse(std::move(*refusal));
    }
    if (auto refusal = about_host(visit, rules)) {
        return refuse(std::move(*refusal));
    }
    if (auto refusal = about_prefetch(visit)) {
        return refuse(std::move(*refusal));
    }
    std::string_view allowed = allowed_origin(visit, rules);
    Verdict verdict = judge_page(visit, rules, !allowed.empty());
    verdict.allow_origin = allowed;
    verdict.varies_by_origin = !rules.origins.empty() || rules.any_origin;
    return verdict;
}

std::vector<std::pair<std::string_view, std::string_view>> guard_headers(const Verdict& verdict) {
    std::vector<std::pair<std::string_view, std::string_view>> out;
    out.reserve(8);
    out.emplace_back("X-Content-Type-Options", "nosniff");
    out.emplace_back("Referrer-Policy", "same-origin");
    out.emplace_back("Cache-Control", "no-store");
    if (verdict.allow_origin.empty()) {
        out.emplace_back("Cross-Origin-Resource-Policy", "same-origin");
    } else {
        out.emplace_back("Access-Control-Allow-Origin", verdict.allow_origin);
    }
    if (verdict.varies_by_origin) {
        out.emplace_back("Vary", "Origin");
    }
    if (verdict.kind == Verdict::Kind::preflight) {
        out.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST");
        out.emplace_back("Access-Control-Max-Age", "600");
        if (!verdict.allow_headers.empty()) {
            out.emplace_back("Access-Control-Allow-Headers", verdict.allow_headers);
        }
    }
    return out;
}

}  // namespace owt
