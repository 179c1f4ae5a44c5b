//! Decimals: whole numbers in two's complement, the most significant byte first, of any length.

/// The number, if it has bytes and fits 128 bits. Leading bytes that only repeat the sign do not count.
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first()? & 0x80 != 0;
    let sign = if negative { 0xff } else { 0x00 };
    let (extension, number) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut whole = [sign; 16];
    whole[16 - number.len()..].copy_from_slice(number);
    let whole = i128::from_be_bytes(whole);
    (extension.iter().all(|&byte| byte == sign) && whole.is_negative() == negative).then_some(whole)
}

/// Whether a number has at most so many digits, 38 at most.
#[inline]
pub(crate) fn fits(number: i128, precision: u8) -> bool {
    10u128.checked_pow(precision.into()).is_none_or(|limit| number.unsigned_abs() < limit)
}

/// With `scale` digits after the point.
pub(crate) fn text(number: i128, scale: u32) -> String {
    let scale = usize::try_from(scale).unwrap_or(usize::MAX).min(1_000);
    if scale == 0 {
        return number.to_string();
    }
    let sign = if number < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
#[path = "decimal/tests.rs"]
mod tests;
