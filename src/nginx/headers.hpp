// The fields of a head, one after the other.

#pragma once

#include "nginx/ngx.hpp"

namespace owt {

template <typename Visit>
void each_header(ngx_list_t& list, Visit visit) {
    for (ngx_list_part_t* part = &list.part; part != nullptr; part = part->next) {
        auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (headers[i].hash != 0) {
                visit(headers[i]);
            }
        }
    }
}

}  // namespace owt
