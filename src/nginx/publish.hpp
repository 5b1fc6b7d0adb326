// The directives owt_file, owt_root and owt_mcp, and what becomes of them and of owt_keep.

#pragma once

#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"

namespace owt {

char* set_owt_file(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_owt_root(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_owt_mcp(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* merge_published(ngx_conf_t* cf, LocationConf& outer, LocationConf& inner);

// Tells each instance what its servers publish; once these have been assigned.
void assign_publications(MainConf& main);

}  // namespace owt
