-- Coinbase trades as silver rows: a third exchange, without a line of Rust. See README.md here, and for the functions
-- config/transforms/README.md.
SELECT
    join_text('COINBASE-', product_id, '-', trade_id) AS trade_id,
    replace(product_id, '-', '') AS symbol,
    'COINBASE' AS exchange,
    'crypto' AS asset_class,
    rfc3339_to_micros(time) AS timestamp,
    parse_decimal(price) AS price,
    parse_decimal(size) AS quantity,
    coalesce(text_after(product_id, '-'), 'UNKNOWN') AS currency,
    -- Coinbase tells the maker's side; ours is the aggressor's
    CASE side WHEN 'sell' THEN 'BUY' WHEN 'buy' THEN 'SELL' END AS side,
    text_list() AS trade_conditions,
    sequence AS source_sequence,
    ingestion_timestamp,
    json_object('sequence', sequence, 'time', time, 'product_id', product_id, 'side', side) AS vendor_data,

    -- what the shared rules look at
    price AS _price_text,
    size AS _quantity_text,
    time AS _time_given,
    product_id AS _symbol_given,
    text_before(product_id, '-') = '' OR text_after(product_id, '-') = '' AS _symbol_missing,
    side AS _side_given
FROM record
