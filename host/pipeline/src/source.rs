//! Where a record comes from: the header `tm-src`.
