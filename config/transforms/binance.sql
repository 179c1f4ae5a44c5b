-- Binance trades as silver rows. One row in (the Avro reader schema config/schemas/binance_raw_trade.avsc), one row out.
-- Columns that begin with "_" are for the rules (config/rules/trades.toml) only. Functions: config/transforms/README.md.
SELECT
    join_text('BINANCE-', trade_id) AS trade_id,
    symbol,
    'BINANCE' AS exchange,
    'crypto' AS asset_class,
    millis_to_micros(trade_time_ms) AS timestamp,
    parse_decimal(price) AS price,
    parse_decimal(quantity) AS quantity,
    coalesce(
        quote_asset(symbol, 'USDT', 'USDC', 'FDUSD', 'BUSD', 'TUSD', 'USD', 'EUR', 'TRY', 'BTC', 'ETH', 'BNB'),
        'UNKNOWN'
    ) AS currency,
    -- the aggressor's side: a buyer who was the maker has been sold to
    CASE WHEN is_buyer_maker THEN 'SELL' WHEN NOT is_buyer_maker THEN 'BUY' END AS side,
    text_list() AS trade_conditions,
    ingestion_timestamp,
    json_object(
        'event_type', event_type,
        'event_time_ms', event_time_ms,
        'is_buyer_maker', is_buyer_maker,
        'is_best_match', is_best_match
    ) AS vendor_data,

    price AS _price_text,
    quantity AS _quantity_text,
    trade_time_ms AS _time_given,
    symbol AS _symbol_given,
    false AS _symbol_missing,
    is_buyer_maker AS _side_given
FROM record
