//! Which settings of a topic were given, by whoever made or changed it. The others
//! are the log's, whatever it is opened with from one time to the next.

use crate::TopicConfig;

/// Defines all settings: the name of each and its field, which is also its name in
/// `meta.json`.
macro_rules! settings {
    ($($name:ident $field:ident),* $(,)?) => {
        /// A setting of a topic: a field of [`TopicConfig`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TopicSetting {
            $(#[doc = concat!("`", stringify!($field), "`")] $name),*
        }

        impl TopicSetting {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            pub(crate) fn field(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($field)),*
                }
            }
        }

        impl TopicConfig {
            /// Makes a setting one that was not given: it is what `defaults` has.
            pub fn reset(&mut self, setting: TopicSetting, defaults: &Self) {
                match setting {
                    $(TopicSetting::$name => self.$field = defaults.$field),*
                }
                self.given.0 &= !bit(setting);
            }

            fn differs(&self, setting: TopicSetting, other: &Self) -> bool {
                match setting {
                    $(TopicSetting::$name => self.$field != other.$field),*
                }
            }
        }
    };
}

settings! {
    Cleanup cleanup,
    RetentionMs retention_ms,
    RetentionBytes retention_bytes,
    SegmentBytes segment_bytes,
    SegmentMs segment_ms,
    MaxMessageBytes max_message_bytes,
    Compression compression,
    DeleteRetentionMs delete_retention_ms,
    DirtyRatioMin dirty_ratio_min_ppm,
    CompactionLagMin compaction_lag_min_ms,
    CompactionLagMax compaction_lag_max_ms,
    Timestamp timestamp,
    TimestampBeforeMax timestamp_before_max_ms,
    TimestampAfterMax timestamp_after_max_ms,
    FlushMessages flush_messages,
    FlushMs flush_ms,
    TailBytes tail_bytes,
}

/// The settings that were given, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given(u32);

fn bit(setting: TopicSetting) -> u32 {
    1 << setting as u32
}

impl TopicSetting {
    pub(crate) fn of_field(field: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|setting| setting.field() == field)
    }
}

impl TopicConfig {
    /// Whether a setting was given.
    pub fn is_given(&self, setting: TopicSetting) -> bool {
        self.given.0 & bit(setting) != 0
    }

    /// Makes a setting one that was given, so that it stays what it is.
    pub fn give(&mut self, setting: TopicSetting) {
        self.given.0 |= bit(setting);
    }

    /// The same for all settings.
    pub fn give_all(&mut self) {
        TopicSetting::ALL.iter().for_each(|setting| self.give(*setting));
    }

    /// What is not as the log has it must have been given.
    pub(crate) fn give_differing(&mut self, defaults: &Self) {
        for setting in TopicSetting::ALL {
            if self.differs(*setting, defaults) {
                self.give(*setting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_stays_until_it_is_reset() {
        let defaults = TopicConfig::default();
        let mut config = TopicConfig { flush_ms: 7, ..TopicConfig::default() };
        config.give_differing(&defaults);
        config.give(TopicSetting::SegmentMs);
        let given = |config: &TopicConfig| {
            let all = TopicSetting::ALL.iter().copied();
            all.filter(|setting| config.is_given(*setting)).collect::<Vec<_>>()
        };
        assert_eq!(given(&config), [TopicSetting::SegmentMs, TopicSetting::FlushMs]);
        config.reset(TopicSetting::FlushMs, &defaults);
        config.reset(TopicSetting::SegmentMs, &defaults);
        assert_eq!(config, defaults);
        config.give_all();
        assert_eq!(given(&config), TopicSetting::ALL);
    }
}
