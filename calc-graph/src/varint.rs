//! Lengths as LEB128: seven bits a byte, the lowest first.

pub(crate) fn push(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// Takes a length off the front.
#[inline]
pub(crate) fn take(bytes: &mut &[u8]) -> usize {
    match **bytes {
        [byte, ref rest @ ..] if byte < 0x80 => {
            *bytes = rest;
            usize::from(byte)
        }
        _ => take_long(bytes),
    }
}

/// Takes a length that is more than seven bits.
fn take_long(bytes: &mut &[u8]) -> usize {
    let (mut length, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().expect("a length is whole");
        *bytes = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return length;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_back() {
        for (length, size) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (usize::MAX >> 1, 9)] {
            let mut bytes = Vec::new();
            push(&mut bytes, length);
            assert_eq!(bytes.len(), size);
            bytes.push(7);
            let mut rest = &bytes[..];
            assert_eq!((take(&mut rest), rest), (length, &[7][..]));
        }
    }
}
