#include "nginx/publish.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <stdexcept>

#include "call/text.hpp"
#include "nginx/handler.hpp"

namespace owt {

namespace {

ngx_str_t* arguments(ngx_conf_t* cf) {
    return static_cast<ngx_str_t*>(cf->args->elts);
}

bool is_identifier(std::string_view text) {
    return !text.empty() && is_utf8(text) && !(text[0] >= '0' && text[0] <= '9') &&
           std::ranges::all_of(text, [](char c) {
               return static_cast<unsigned char>(c) >= 0x80 || c == '_' ||
                      letters_and_digits.find(to_lower(c)) != std::string_view::npos;
           });
}

std::string in_quotes(std::string_view text) {
    return "\"" + std::string(text) + "\"";
}

// Absolute, without a slash at its end. nginx reads it relative to its prefix, as paths of `root`.
std::string full_path(ngx_conf_t* cf, ngx_str_t given) {
    if (ngx_conf_full_name(cf->cycle, &given, 0) != NGX_OK) {
        throw std::bad_alloc();
    }
    std::string path(to_view(given));
    while (path.size() > 1 && path.ends_with('/')) {
        path.pop_back();
    }
    if (!is_utf8(path)) {
        throw std::invalid_argument("the path is not UTF-8");
    }
    return path;
}

const char* complain_of(const std::string& path, bool directory) {
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0) {
        return ngx_errno == NGX_ENOENT ? "is not there" : "cannot be looked at";
    }
    if (directory ? !S_ISDIR(found.st_mode) : !S_ISREG(found.st_mode)) {
        return directory ? "is no directory" : "is no file";
    }
    return nullptr;
}

// Takes a last argument "lazy" off.
Publication of_kind(ngx_conf_t* cf, Publication::Kind kind) {
    Publication publication;
    publication.kind = kind;
    publication.lazy = cf->args->nelts > 2 && to_view(arguments(cf)[cf->args->nelts - 1]) == "lazy";
    if (publication.lazy) {
        cf->args->nelts--;
    }
    return publication;
}

// Null if it is one.
char* set_directory(ngx_conf_t* cf, Publication& publication) {
    publication.path = full_path(cf, arguments(cf)[1]);
    const char* complaint = complain_of(publication.path, true);
    return complaint == nullptr
               ? nullptr
               : fail(cf, publication.path + " " + complaint + ": name a directory with files of Python, as in \"" +
                              std::string(to_view(arguments(cf)[0])) + " /srv/api;\"");
}

char* publish(ngx_conf_t* cf, LocationConf& location, Publication publication) {
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    auto* server = static_cast<ngx_http_core_srv_conf_t*>(ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module));
    bool is_tools = publication.kind == Publication::Kind::tools;
    if (location.published != nullptr || (location.owt != nullptr && !is_tools)) {
        return fail(cf, "the location has another one of owt, owt_file, owt_root and owt_mcp: give each its own");
    }
    publication.prefix = to_view(core->name);
    auto* shared = make_in_pool<std::shared_ptr<const Publication>>(
        cf->pool, std::make_shared<const Publication>(std::move(publication)));
    location.published_at = make_in_pool<std::string>(cf->pool, place_of(cf));
    if (shared == nullptr || location.published_at == nullptr) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    location.published = shared;
    location.owt = handle;
    core->handler = handle;
    main_conf(cf).used = true;
    main_conf(cf).published->push_back({server, &location});
    server_conf(server)->owt = true;
    return NGX_CONF_OK;
}

char* refuse(ngx_conf_t* cf, const std::string& place, const char* why) {
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s in %s", why, place.c_str());
    return static_cast<char*>(NGX_CONF_ERROR);
}

}  // namespace

char* set_owt_file(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    try {
        Publication publication = of_kind(cf, Publication::Kind::file);
        publication.path = full_path(cf, arguments(cf)[1]);
        if (const char* complaint = complain_of(publication.path, false)) {
            return fail(cf, publication.path + " " + complaint +
                                ": name a file of Python, as in \"owt_file /srv/tts.py speak;\"");
        }
        if (cf->args->nelts > 3) {
            return fail(cf, "wants a file, and perhaps the name of a function and \"lazy\"");
        }
        if (cf->args->nelts == 3) {
            publication.function = to_view(arguments(cf)[2]);
            if (!is_identifier(publication.function)) {
                return fail(cf, in_quotes(publication.function) + " is no function's name");
            }
        }
        return publish(cf, *static_cast<LocationConf*>(conf), std::move(publication));
    } catch (const std::exception& error) {
        return fail(cf, error.what());
    }
}

char* set_owt_root(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    try {
        auto* core =
            static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
        bool is_prefix = !core->exact_match && !core->named && !core->noname;
#if (NGX_PCRE)
        is_prefix = is_prefix && core->regex == nullptr;
#endif
        if (!is_prefix) {
            return fail(cf,
                        "the names of functions are what follows the location's own: "
                        "write it as in \"location /api/ { owt_root /srv/api; }\"");
        }
        Publication publication = of_kind(cf, Publication::Kind::root);
        if (cf->args->nelts > 2) {
            return fail(cf, "wants a directory, and perhaps \"lazy\"");
        }
        if (char* failed = set_directory(cf, publication)) {
            return failed;
        }
        if (to_view(core->name).ends_with('/')) {
            core->auto_redirect = 1;
        }
        return publish(cf, *static_cast<LocationConf*>(conf), std::move(publication));
    } catch (const std::exception& error) {
        return fail(cf, error.what());
    }
}

char* set_owt_mcp(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    try {
        Publication publication = of_kind(cf, Publication::Kind::tools);
        if (cf->args->nelts > 2) {
            return fail(cf, "wants a directory, and perhaps \"lazy\"");
        }
        if (char* failed = cf->args->nelts == 2 ? set_directory(cf, publication) : nullptr) {
            return failed;
        }
        return publish(cf, *static_cast<LocationConf*>(conf), std::move(publication));
    } catch (const std::exception& error) {
        return fail(cf, error.what());
    }
}

char* merge_published(ngx_conf_t* cf, LocationConf& outer, LocationConf& inner) {
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    ngx_conf_merge_value(inner.keep, outer.keep, 0);
    // As the handler, see merge_access().
    if (core->noname && inner.owt == nullptr) {
        inner.published = outer.published;
        inner.published_at = outer.published_at;
        inner.runs_code = outer.runs_code;
    }
    if (inner.published == nullptr) {
        return NGX_CONF_OK;
    }
    const Publication& published = **inner.published;
    // By now nginx has read on to the end of the block.
    if (published.kind == Publication::Kind::tools && published.path.empty() && !inner.runs_code) {
        return refuse(cf, *inner.published_at,
                      "\"owt_mcp\" has nothing to offer: name a directory, as in \"owt_mcp /srv/api;\", or put "
                      "\"owt;\" beside it, for a tool that runs Python");
    }
    if (inner.runs_code != published.runs_code) {
        auto changed = std::make_shared<Publication>(published);
        changed->runs_code = inner.runs_code;
        *inner.published = std::move(changed);
    }
    if (inner.keep && inner.zone == nullptr && published.kind != Publication::Kind::tools) {
        return refuse(cf, *inner.published_at,
                      "\"owt_keep on\" for what is published has nowhere to keep results: name a zone, as in "
                      "\"owt_cache results;\", and declare it in http, as in \"owt_zone results 64m;\"");
    }
    return NGX_CONF_OK;
}

void assign_publications(MainConf& main) {
    for (const Publishing& publishing : *main.published) {
        std::size_t instance = server_conf(publishing.server)->instance;
        (*main.instances)[instance].settings.published.push_back(*publishing.location->published);
    }
}

}  // namespace owt
