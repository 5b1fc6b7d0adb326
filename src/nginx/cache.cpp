#include "nginx/cache.hpp"

#include <algorithm>

#include "call/hooks.hpp"
#include "call/key.hpp"
#include "call/text.hpp"
#include "call/uptime.hpp"
#include "nginx/answer.hpp"
#include "nginx/worker.hpp"

namespace owt {

namespace {

constexpr std::size_t least_pages = 8;
constexpr std::size_t usual_most = 1 << 20;

Flights& flights() {
    static ngx_event_t wake{};
    static Flights& flights = *std::make_unique<Flights>([] {
                                   if (!wake.posted) {
                                       ngx_post_event(&wake, &ngx_posted_events);
                                   }
                               }).release();
    wake.log = ngx_cycle->log;
    wake.handler = [](ngx_event_t*) noexcept {
        for (auto due = flights.due(); due.owner != nullptr; due = flights.due()) {
            due.owner->resume(std::move(due.kept));
        }
    };
    return flights;
}

std::string all_of(ngx_http_request_t* request, std::string_view name) {
    std::string values;
    each_header(request->headers_in.headers, [&](const ngx_table_elt_t& header) {
        if (same(to_view(header.key), name)) {
            values.append(values.empty() ? "" : ",").append(to_view(header.value));
        }
    });
    return values;
}

// Whose Python the request is for.
std::string_view instance_of(ngx_http_request_t* request) {
    auto& main = main_conf(request);
    auto& server = *static_cast<ServerConf*>(ngx_http_get_module_srv_conf(request, ngx_http_owt_module));
    return (*main.instances)[server.instance].name;
}

// "location /x" and "location = /x" are two.
std::string location_kind(const ngx_http_core_loc_conf_t& location) {
#if (NGX_PCRE)
    if (location.regex != nullptr) {
        return "~ ";
    }
#endif
    return location.exact_match ? "= " : location.named ? "@ " : "";
}

Digest key_for(ngx_http_request_t* request, const Call::Asked& asked, std::string_view version) {
    auto* server = static_cast<ngx_http_core_srv_conf_t*>(ngx_http_get_module_srv_conf(request, ngx_http_core_module));
    auto* location =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(request, ngx_http_core_module));
    std::string_view path = to_view(request->unparsed_uri);
    auto& own = *static_cast<ServerConf*>(ngx_http_get_module_srv_conf(request, ngx_http_owt_module));
    // nginx gives all those without a name one, the host's.
    std::string name = own.number == 0 ? std::string(to_view(server->server_name)) : std::to_string(own.number);
    std::string place = location_kind(*location) + std::string(to_view(location->name));
    Scope scope{location_conf(request).zone->name(), name, place, instance_of(request)};
    ngx_table_elt_t* type = request->headers_in.content_type;
    Target target{to_view(request->method_name),
                  path.substr(0, path.find('?')),
                  to_view(request->uri),
                  to_view(request->args),
                  type != nullptr ? to_view(type->value) : std::string_view(),
                  version};
    return key_of(scope, target, asked.place, asked.params, asked.further);
}

// A client whose copy may be current needs the head alone, as does one that asks for no more. What comes of the
// condition is nginx's to say.
bool wants_body(ngx_http_request_t* request, std::string_view head) {
    ngx_table_elt_t* condition = request->headers_in.if_none_match;
    if (request->method == NGX_HTTP_HEAD || condition == nullptr) {
        return request->method != NGX_HTTP_HEAD;
    }
    std::string_view etag = etag_in(head);
    return etag.empty() || to_view(condition->value).find(etag) == std::string_view::npos;
}

}  // namespace

bool Caching::find(ngx_http_request_t* request) {
    auto wants = [request](std::string_view head) { return wants_body(request, head); };
    at_ = key_;
    auto found = zone_->find(at_, request->pool, wants);
    if (found && found->by_accept) {
        at_ = key_of(key_, accept_);
        found = zone_->find(at_, request->pool, wants);
    }
    if (!found) {
        return false;
    }
    result_ = *found;
    state_ = State::hit;
    return true;
}

std::optional<std::string_view> Caching::body(ngx_http_request_t* request) {
    if (!result_.body) {
        auto again = zone_->find(at_, request->pool, [](std::string_view) { return true; });
        if (again && again->head == result_.head) {
            result_.body = again->body;
        }
    }
    return result_.body;
}

Caching::Step Caching::look(ngx_http_request_t* request, const Call::Asked& asked) {
    const LocationConf& conf = location_conf(request);
    zone_ = conf.zone;
    if (zone_ == nullptr) {
        return Step::run;
    }
    if (asked.params.published) {
        auto version = Worker::get()->pool().version_of(asked.params.code_id);
        if (!version) {
            state_ = State::missed;  // not loaded yet: what answers is known to nobody
            return Step::run;
        }
        file_ = asked.params.code_id;
        version_ = std::move(*version);
    }
    key_ = key_for(request, asked, version_.hash);
    accept_ = all_of(request, "Accept");
    begun_at_ = uptime();
    // RFC 9111, 5.2.1: nothing that was kept before is to be sent; nothing is to be kept.
    std::string wish = all_of(request, "Cache-Control");
    bool keeps = !has_directive(wish, "no-store");
    if (keeps) {
        recording_.emplace(conf.limit);
    }
    if (!keeps || has_directive(wish, "no-cache")) {
        state_ = State::refreshed;
        return Step::run;
    }
    if (find(request)) {
        return Step::answer;
    }
    state_ = State::missed;
    return flights().board(ticket_, key_) ? Step::run : Step::wait;
}

Caching::Step Caching::resume(ngx_http_request_t* request, KeptPtr kept) {
    if (kept == nullptr) {
        return Step::run;
    }
    if (!kept->terms.by_accept || kept->accept == accept_) {
        kept_ = std::move(kept);
        result_ = {.limited = kept_->terms.lifetime.has_value(),
                   .kept_at = uptime(),
                   .head = kept_->head,
                   .body_size = kept_->body.size(),
                   .body = kept_->body};
        state_ = State::collapsed;
        return Step::answer;
    }
    if (find(request)) {
        return Step::answer;
    }
    return flights().board(ticket_, key_) ? Step::run : Step::wait;
}

bool Caching::give_up_waiting() {
    return ticket_.leave_waiting();
}

void Caching::spoil() {
    if (recording_) {
        recording_->give_up("error");
        step_aside();
    }
}

void Caching::record(Batch& batch) {
    bool answers = batch.head || batch.problem || !batch.pieces.empty() || batch.end != End::open;
    if (!recording_ || !answers) {
        return;
    }
    if (batch.problem || batch.end == End::aborted) {
        recording_->give_up("error");
        step_aside();
        return;
    }
    if (!file_.empty() && recording_->refused() == nullptr && Worker::get()->pool().version_of(file_) != version_) {
        recording_->give_up("changed");  // either version may have answered
    }
    if (batch.file) {
        recording_->give_up("file");
    } else if (batch.head) {
        recording_->begin(*batch.head, batch.whole, batch.pieces);
        begun_ = Clock::now();
    }
    if (!batch.whole) {
        recording_->add(batch.pieces);
    }
    if (recording_->refused() == nullptr && batch.end == End::finished) {
        keep();
    } else if (recording_->refused() != nullptr || Clock::now() - begun_ > std::chrono::seconds(patience)) {
        ticket_.land(nullptr);
    }
}

void Caching::keep() {
    Kept kept = recording_->take();
    kept.accept = accept_;
    Digest at = key_;
    stored_ = true;
    if (kept.terms.by_accept) {
        at = key_of(key_, accept_);
        stored_ = zone_->keep_by_accept(key_);
    }
    stored_ = stored_ && zone_->keep(at, kept.head, kept.body, kept.terms.lifetime, begun_at_);
    if (!stored_) {
        recording_->give_up("not-kept");
    }
    if (ticket_.leads()) {
        ticket_.land(std::make_shared<const Kept>(std::move(kept)));
    }
}

std::string_view Caching::state() const {
    switch (state_) {
        case State::hit:
            return "HIT";
        case State::collapsed:
            return "COLLAPSED";
        case State::bypassed:
            return "BYPASS";
        case State::refreshed:
            return "REFRESH";
        default:
            return "MISS";
    }
}

bool Caching::report(ngx_http_request_t* request) const {
    if (state_ == State::hit) {
        return add_header(request, "Cache-Status", "owt; hit") != nullptr;
    }
    std::string text = state_ == State::bypassed    ? "owt; fwd=bypass; detail=owt_cache-off"
                       : state_ == State::refreshed ? "owt; fwd=request"
                                                    : "owt; fwd=miss";
    if (state_ == State::collapsed) {
        text += "; collapsed";
    } else if (stored_) {
        text += "; stored";
    } else if (recording_ && recording_->refused() != nullptr) {
        text.append("; detail=").append(recording_->refused());
    }
    return add_header(request, "Cache-Status", text) != nullptr;
}

// --- Directives.

namespace {

std::string kilobytes(std::size_t size) {
    return std::to_string(size / 1024) + "k";
}

// The zone of this name under the configuration that is being replaced, if it was of another size.
const ngx_shm_zone_t* resized(const ngx_shm_zone_t& zone) {
    auto* cycle = const_cast<ngx_cycle_t*>(ngx_cycle);
    for (const ngx_list_part_t* part = &cycle->shared_memory.part; part != nullptr; part = part->next) {
        auto* old = static_cast<const ngx_shm_zone_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (to_view(old[i].shm.name) == to_view(zone.shm.name) && old[i].shm.size != zone.shm.size) {
                return &old[i];
            }
        }
    }
    return nullptr;
}

ngx_int_t init_zone(ngx_shm_zone_t* memory, void* old) noexcept {
    const ngx_shm_zone_t* before = old == nullptr ? resized(*memory) : nullptr;
    if (before != nullptr) {
        ngx_log_error(NGX_LOG_NOTICE, memory->shm.log, 0,
                      "owt: the zone \"%V\" has %uz bytes now and had %uz: its results are forgotten",
                      &memory->shm.name, memory->shm.size, before->shm.size);
    }
    auto& zone = *static_cast<Zone*>(memory->data);
    return zone.attach(reinterpret_cast<ngx_slab_pool_t*>(memory->shm.addr), old != nullptr);
}

Zone* find_zone(const MainConf& main, std::string_view name) {
    auto found = std::ranges::find_if(*main.zones, [&](const Zone* zone) { return zone->name() == name; });
    return found != main.zones->end() ? *found : nullptr;
}

}  // namespace

char* set_zone(ngx_conf_t* cf, ngx_command_t*, void*) noexcept {
    try {
        auto* values = static_cast<ngx_str_t*>(cf->args->elts);
        MainConf& main = main_conf(cf);
        ssize_t size = ngx_parse_size(&values[2]);
        if (size == NGX_ERROR) {
            return fail(cf, "wants a name and a size, as in \"owt_zone results 64m;\"");
        }
        std::size_t least = least_pages * ngx_pagesize;
        if (static_cast<std::size_t>(size) < least) {
            return fail(cf, "the zone is too small: give it " + kilobytes(least) + " or more");
        }
        if (to_view(values[1]) == "off") {
            return fail(cf, "\"off\" is what owt_cache says for none: choose another name");
        }
        if (find_zone(main, to_view(values[1])) != nullptr) {
            return fail(cf, "there is a zone \"" + std::string(to_view(values[1])) + "\" already");
        }
        auto* memory = ngx_shared_memory_add(cf, &values[1], static_cast<std::size_t>(size), &ngx_http_owt_module);
        auto* zone = make_in_pool<Zone>(cf->pool, to_view(values[1]), static_cast<std::size_t>(size));
        if (memory == nullptr || zone == nullptr) {
            return static_cast<char*>(NGX_CONF_ERROR);
        }
        memory->init = init_zone;
        memory->data = zone;
        main.zones->push_back(zone);
        return NGX_CONF_OK;
    } catch (const std::exception& error) {
        return fail(cf, error.what());
    }
}

char* set_cache(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    try {
        auto& location = *static_cast<LocationConf*>(conf);
        auto* values = static_cast<ngx_str_t*>(cf->args->elts);
        if (location.cache != static_cast<CacheName*>(NGX_CONF_UNSET_PTR)) {
            return const_cast<char*>("is duplicate");
        }
        if (to_view(values[1]) == "off") {
            location.cache = nullptr;
            return NGX_CONF_OK;
        }
        location.cache = make_in_pool<CacheName>(cf->pool, CacheName{std::string(to_view(values[1])), place_of(cf)});
        return location.cache != nullptr ? NGX_CONF_OK : static_cast<char*>(NGX_CONF_ERROR);
    } catch (const std::exception& error) {
        return fail(cf, error.what());
    }
}

char* set_cache_max(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& location = *static_cast<LocationConf*>(conf);
    auto* values = static_cast<ngx_str_t*>(cf->args->elts);
    if (location.cache_max != NGX_CONF_UNSET_SIZE) {
        return const_cast<char*>("is duplicate");
    }
    ssize_t size = ngx_parse_size(&values[1]);
    if (size == NGX_ERROR || size == 0) {
        return const_cast<char*>("wants a size, as in \"owt_cache_max 4m;\"");
    }
    location.cache_max = static_cast<std::size_t>(size);
    return NGX_CONF_OK;
}

char* merge_cache(ngx_conf_t* cf, LocationConf& outer, LocationConf& inner) {
    ngx_conf_merge_ptr_value(inner.cache, outer.cache, nullptr);
    if (inner.cache_max == NGX_CONF_UNSET_SIZE) {
        inner.cache_max = outer.cache_max;
    }
    if (inner.cache == nullptr) {
        return NGX_CONF_OK;
    }
    // nginx has read on to the end of http: so the place is told, and the order does not matter.
    inner.zone = find_zone(main_conf(cf), inner.cache->name);
    if (inner.zone == nullptr) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"owt_cache %s\" in %s: there is no such zone; declare it in http with \"owt_zone %s 64m;\"",
                      inner.cache->name.c_str(), inner.cache->place.c_str(), inner.cache->name.c_str());
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    if (inner.cache_max != NGX_CONF_UNSET_SIZE && inner.cache_max > inner.zone->size()) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"owt_cache %s\" in %s: owt_cache_max is larger than the zone",
                      inner.cache->name.c_str(), inner.cache->place.c_str());
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    inner.limit =
        inner.cache_max != NGX_CONF_UNSET_SIZE ? inner.cache_max : std::min(usual_most, inner.zone->size() / 4);
    return NGX_CONF_OK;
}

}  // namespace owt
