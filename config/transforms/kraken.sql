-- Kraken trades as silver rows. One row in (the Avro reader schema config/schemas/kraken_raw_trade.avsc), one row out.
-- Columns that begin with "_" are for the rules (config/rules/trades.toml) only. Functions: config/transforms/README.md.
SELECT
    join_text('KRAKEN-', timestamp, '-', left(_message_id, 8)) AS trade_id,
    replace(
        join_text(
            CASE WHEN base = 'XBT' THEN 'BTC' ELSE base END,
            CASE WHEN quote IS NULL THEN '' WHEN quote = 'XBT' THEN 'BTC' ELSE quote END
        ),
        '/', ''
    ) AS symbol,
    'KRAKEN' AS exchange,
    'crypto' AS asset_class,
    seconds_to_micros(timestamp) AS timestamp,
    parse_decimal(price) AS price,
    parse_decimal(volume) AS quantity,
    CASE WHEN quote IS NULL THEN 'USD' WHEN quote_code = 'XBT' THEN 'BTC' ELSE quote_code END AS currency,
    -- Kraken tells the aggressor's side
    CASE side WHEN 'b' THEN 'BUY' WHEN 's' THEN 'SELL' END AS side,
    text_list(CASE order_type WHEN 'l' THEN 'limit' WHEN 'm' THEN 'market' ELSE order_type END) AS trade_conditions,
    ingestion_timestamp,
    json_object('channel_id', channel_id, 'order_type', order_type, 'misc', misc, 'pair', pair) AS vendor_data,

    price AS _price_text,
    volume AS _quantity_text,
    timestamp AS _time_given,
    pair AS _symbol_given,
    base = '' OR quote_code = '' AS _symbol_missing,
    side AS _side_given
FROM (
    -- "XBT/USD": base and quote are the two sides of the first "/"; without one, the pair is all base
    SELECT
        *,
        text_before(pair, '/') AS base,
        text_after(pair, '/') AS quote,
        replace(text_after(pair, '/'), '/', '') AS quote_code
    FROM record
)
