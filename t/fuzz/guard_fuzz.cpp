// Any bytes to the guard and its kin. The first byte chooses: guard, host, origin, auth, confirm; the rest is input.
// What the guard lets pass is held against a second, simpler reading of the rules.

#include "call/locate.hpp"
#include "call/text.hpp"
#include "guard/auth.hpp"
#include "guard/confirm.hpp"
#include "guard/guard.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

using namespace owt;

namespace {

using Kind = Verdict::Kind;

void require(bool sound) {
    if (!sound) {
        std::abort();
    }
}

std::string_view cut_line(std::string_view& text) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    return line;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        c = c >= 'A' && c <= 'Z' ? char(c | 0x20) : c;
    }
    return out;
}

bool printable(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return (c >= ' ' && c <= '~') || c == '\n'; });
}

bool is_one(const Visit::Values& values, std::string_view value) {
    return values.size() == 1 && values[0] == value;
}

// Loopback in any spelling has one of these in it, and of what is digits nothing else.
bool may_be_local(std::string_view text) {
    std::string lowered = lower(text);
    bool ip4 = lowered.find("127.") != std::string::npos;
    bool ip6 = lowered.find(":1") != std::string::npos || lowered.find(":01") != std::string::npos ||
               lowered.find(":001") != std::string::npos || lowered.find(":0001") != std::string::npos;
    bool mapped = lowered.find(":ffff:7f") != std::string::npos;
    return ip4 || ip6 || mapped || lowered.find("unix:") != std::string::npos;
}

// Whole, but for a port.
void check_host(const Visit& visit, const Rules& rules) {
    std::string host = lower(visit.host);
    size_t bracket = host.find(']');
    if (size_t colon = host.find(':', bracket == std::string::npos ? 0 : bracket); colon != std::string::npos) {
        std::string port = host.substr(colon + 1);
        require(!port.empty() && port.find_first_not_of("0123456789") == std::string::npos && std::stoul(port) < 65536);
        host.resize(colon);
    }
    if (host.ends_with('.')) {
        host.pop_back();
    }
    bool name = host == "localhost" || host.ends_with(".localhost");
    bool local = host.starts_with("127.") || (host.starts_with('[') && may_be_local(host));
    bool known = std::ranges::find(rules.hosts, canonical_host(host)) != rules.hosts.end();
    require(!host.empty() && (name || local || known));
    require(host.find_first_of(std::string_view(" \t/@#?\\%\0", 9)) == std::string::npos);
}

void check_client(const Visit& visit, const Rules& rules) {
    require(is_local(visit.peer));
    for (Visit::Told told : visit.told) {
        for (bool more = true; more;) {
            size_t end = std::min(told.value.find(','), told.value.size());
            require(may_be_local(told.value.substr(0, end)));
            more = end < told.value.size();
            told.value.remove_prefix(std::min(end + 1, told.value.size()));
        }
    }
    require(!visit.told.empty() || visit.front_sign.empty());
    require(!visit.http10 || rules.http10);
}

void check_page(const Visit& visit, const Rules& rules, const Verdict& verdict) {
    bool allowed = !verdict.allow_origin.empty();
    require(!allowed || visit[Visit::origin].size() == 1);
    require(!allowed || !(rules.origins.empty() && !rules.any_origin));
    require(verdict.allow_origin != "*" || (rules.any_origin && rules.has_auth));
    require(verdict.kind != Kind::preflight || (allowed && visit.method == "OPTIONS"));
    bool link = visit.method == "GET" && (verdict.kind == Kind::confirm || rules.links || !visit.names_code);
    const auto& dest = visit[Visit::fetch_dest];
    bool element = !dest.empty() && !is_one(dest, "empty") && !is_one(dest, "document");
    require(!element || !visit.brings_python || verdict.kind == Kind::preflight);
    require(visit[Visit::ping_to].empty());
    if (allowed && verdict.allow_origin == "*" && verdict.kind == Kind::pass &&
        !is_one(visit[Visit::fetch_site], "same-origin") && visit[Visit::meant].empty() &&
        canonical_origin(visit[Visit::origin][0]) != visit.own_origin()) {
        require(visit[Visit::content_type].size() == 1 &&
                lower(visit[Visit::content_type][0]).find("application/json") != std::string::npos);
    }
    if (allowed) {
        return;
    }
    if (!visit[Visit::fetch_site].empty()) {
        require(is_one(visit[Visit::fetch_site], "same-origin") ||
                (link && is_one(visit[Visit::fetch_mode], "navigate") && is_one(visit[Visit::fetch_dest], "document")));
    } else if (!visit[Visit::origin].empty()) {
        require(visit[Visit::origin].size() == 1 && !is_one(visit[Visit::origin], "null"));
        require(visit[Visit::origin][0].starts_with(visit.https ? "https://" : "http://"));
    } else if (rules.strict && visit.names_code && visit[Visit::referer].empty()) {
        require(!visit[Visit::meant].empty() || verdict.kind == Kind::confirm || rules.links);
    }
}

// Lines: switches, method, host, local and peer address, then headers as "name:value".
void fuzz_guard(std::string_view text) {
    Rules rules;
    require(!rules.allow_host("gpu.example") && !rules.allow_origin("https://app.example"));
    std::string_view switches = cut_line(text);
    auto on = [&](char c) { return switches.find(c) != std::string_view::npos; };
    rules.remote = on('r');
    rules.links = on('l');
    rules.has_auth = on('a');
    rules.any_origin = on('*');
    rules.http10 = on('1');
    rules.strict = on('t');
    Visit visit;
    visit.https = on('s');
    visit.http10 = on('0');
    visit.names_code = !on('n');
    visit.brings_python = visit.names_code && !on('i');
    visit.method = cut_line(text);
    visit.host = cut_line(text);
    visit.local = parse_address(cut_line(text));
    std::string_view peer = cut_line(text);
    visit.peer = parse_address(peer);
    if (peer == "unix") {
        visit.peer.kind = Address::Kind::unix_socket;
    }
    while (!text.empty()) {
        std::string_view line = cut_line(text);
        size_t colon = std::min(line.find(':'), line.size());
        visit.add(line.substr(0, colon), line.substr(std::min(colon + 1, line.size())));
    }
    Verdict verdict = guard(visit, rules);
    if (verdict.kind == Kind::refuse) {
        int status = verdict.problem.status;
        require(status == 403 || status == 421 || (status == 405 && visit.method == "OPTIONS"));
        require(!verdict.problem.detail.empty() && verdict.problem.detail.size() < 1500);
        require(printable(verdict.problem.detail));
        require(verdict.allow_origin.empty() || !rules.origins.empty() || rules.any_origin);
    } else {
        if (!rules.remote && !rules.has_auth) {
            check_client(visit, rules);
        }
        if (visit.local.kind == Address::Kind::none) {
            check_host(visit, rules);
        }
        require(visit[Visit::sec_purpose].empty());
        check_page(visit, rules, verdict);
    }
    for (auto [name, value] : guard_headers(verdict)) {
        require(!name.empty() && printable(value) && value.find('\n') == std::string_view::npos);
    }
    // Who may ask still may when more is allowed.
    if (verdict.kind == Kind::pass) {
        rules.remote = rules.links = true;
        require(guard(visit, rules).kind == Kind::pass);
    }
}

void fuzz_host(std::string_view text) {
    std::string host = canonical_host(text);
    require(canonical_host(host) == host && printable(host));
    Rules rules;
    Complaint complaint = rules.allow_host(text);
    require(complaint.has_value() == rules.hosts.empty());
    require(!complaint || (printable(*complaint) && complaint->size() < 300));
    if (host.empty()) {
        return;
    }
    Visit visit;
    visit.peer = parse_address("127.0.0.1");
    visit.method = "GET";
    visit.host = text;
    // What may be configured is let in, with a port or without, and what is not may be.
    bool port = split_port(text) && split_port(text)->second;
    require(port || (guard(visit, rules).kind == Kind::pass) == !complaint);
}

void fuzz_origin(std::string_view text) {
    std::string origin = canonical_origin(text);
    require(canonical_origin(origin) == origin && printable(origin));
    Rules rules;
    Complaint complaint = rules.allow_origin(text);
    require(complaint.has_value() == (rules.origins.empty() && !rules.any_origin));
    require(!complaint || (printable(*complaint) && is_utf8(*complaint)));
    Visit visit;
    visit.peer = parse_address("127.0.0.1");
    visit.method = "POST";
    visit.host = "localhost";
    visit.add("Sec-Fetch-Site", "cross-site");
    visit.add("Origin", text);
    Verdict verdict = guard(visit, rules);
    require((verdict.kind == Kind::pass) == !origin.empty());
    require(verdict.allow_origin == (origin.empty() ? "" : text));
}

void fuzz_auth(std::string_view text) {
    std::string_view login = cut_line(text);
    Logins logins;
    Complaint complaint = logins.add(login);
    require(complaint.has_value() == logins.empty());
    require(!complaint || is_utf8(*complaint));
    Logins ann;
    // secret
    require(!ann.add("ann:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"));
    bool admitted = ann.admit(text).has_value();
    require(!admitted || (lower(text).starts_with("basic ") && text.find("YW5uOnNlY3Jld") != std::string_view::npos));
    require(!Logins().admit(text));
}

size_t tags(std::string_view page) {
    return static_cast<size_t>(std::ranges::count(page, '<'));
}

// Lines: path, target, query, arguments; then the code.
void fuzz_confirm(std::string_view text) {
    auto page_of = [](std::string_view text) {
        Params params;
        std::string_view path = cut_line(text);
        std::string_view target = cut_line(text);
        std::string_view query = cut_line(text);
        params.fn_name = path;
        params.kwargs = cut_line(text);
        params.code = text;
        params.code_id = "0";
        return confirm_page({.params = params, .path = path, .query = query, .target = target});
    };
    std::string page = page_of(text);
    require(is_utf8(page) && page.find('\0') == std::string::npos);
    std::string tame(text);
    for (char& c : tame) {
        c = c == '<' || c == '"' || c == '\'' || c == '>' ? 'x' : c;
    }
    require(tags(page) == tags(page_of(tame)));
    require(page.find("class=\"run\"") != std::string::npos);
    size_t begin = page.find("data-href=\"") + 11;
    std::string_view href = std::string_view(page).substr(begin, page.find('"', begin) - begin);
    require(href.starts_with('/') && !href.starts_with("//"));
    require(href.find_first_of("\\<>' \t\r\n") == std::string_view::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) {
        return 0;
    }
    // Exactly as long as the text, so that a step beyond its end is noticed.
    size_t length = size - 1;
    std::unique_ptr<char[]> bytes(new char[length]);
    std::memcpy(bytes.get(), data + 1, length);
    std::string_view text(bytes.get(), length);
    switch (data[0]) {
        case 'g':
            fuzz_guard(text);
            break;
        case 'h':
            fuzz_host(text);
            break;
        case 'o':
            fuzz_origin(text);
            break;
        case 'a':
            fuzz_auth(text);
            break;
        case 'c':
            fuzz_confirm(text);
            break;
    }
    return 0;
}
